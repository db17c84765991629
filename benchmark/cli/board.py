"""`bench leaderboard`: starts the Streamlit leaderboard on a results database."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from arithloc.benchmark.api.errors import MissingExtra, PrerequisiteError, UnusableDatabase
from arithloc.benchmark.storage import DEFAULT_DB
from arithloc.benchmark.storage.location import locate


def leaderboard(
    db: Annotated[str, typer.Option(envvar="ARITHLOC_DB", help="SQLite file or SQLAlchemy URL.")] = DEFAULT_DB,
    results: Annotated[Path | None, typer.Option(envvar="ARITHLOC_RESULTS", help="Folder of tensors and logs.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8501,
    address: Annotated[
        str, typer.Option(help="Network address to listen on; 0.0.0.0 opens it to the network.")
    ] = "localhost",
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = False,
) -> int:
    """Show the results in a browser: rankings, curves, heatmaps and provenance."""
    command = streamlit_command(port, address, browser=browser)
    location = locate(db, results)
    check_results(db, results)
    environment = {**os.environ, "ARITHLOC_DB": str(location.file) if location.file else db}
    if results is not None:
        environment["ARITHLOC_RESULTS"] = str(location.results)
    sys.stdout.flush()
    os.execve(command[0], command, environment)  # noqa: S606 (our own interpreter; the server takes over this process)


def streamlit_command(port: int, address: str, *, browser: bool) -> list[str]:
    """The command line of the server.

    Raises:
        MissingExtra: Streamlit or Altair is not installed.
        PrerequisiteError: the leaderboard is not part of this installation.
    """
    for module in ("streamlit", "altair"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra.named("leaderboard", "bench leaderboard")
    package = importlib.util.find_spec("arithloc.leaderboard")
    folder = next(iter(package.submodule_search_locations or []), None) if package else None
    app = Path(folder) / "app.py" if folder else None
    if app is None or not app.is_file():
        raise PrerequisiteError("The leaderboard is not part of this installation. Install arithloc again.")
    options = {"server.port": port, "server.address": address, "server.headless": str(not browser).lower()}
    settings = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "streamlit", "run", str(app), *settings, "--browser.gatherUsageStats", "false"]


def check_results(db: str, results: Path | None) -> None:
    """Refuses a database without a finished cell before a server starts.

    Raises:
        UnusableDatabase: missing, no database, or empty.
    """
    from arithloc.benchmark.cli.counts import cell_counts
    from arithloc.benchmark.storage.repository import Repository

    with Repository.open(db, results, read_only=True) as repository:
        if not cell_counts(repository):
            raise UnusableDatabase(
                f"The results database {repository.location.shown} has no cells yet. Make some with 'bench evaluate'."
            )
