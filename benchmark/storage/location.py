"""Where a results database is: a SQLite file or a server, and the folder of its artifacts."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from arithloc.benchmark.api.errors import UnusableDatabase, UsageError, quoted

SERVERS = ("postgresql",)


@dataclass(frozen=True)
class Location:
    """A database and the folder of its artifacts.

    Attributes:
        url: SQLAlchemy URL; may hold a password, never shown.
        file: the SQLite file, None for a server.
        results: folder that holds `artifacts/`, `tmp/` and `logs/`.
    """

    url: URL
    file: Path | None
    results: Path

    @property
    def shown(self) -> str:
        """The database as it may be printed: a path, or a URL without user, password and query."""
        if self.file is not None:
            return str(self.file)
        port = f":{self.url.port}" if self.url.port else ""
        return f"{self.url.get_backend_name()}://{self.url.host or ''}{port}/{self.url.database or ''}"

    def redact(self, text: str) -> str:
        """`text` without the user name and password of the URL."""
        for secret in (self.url.password, self.url.username):
            if secret:
                text = text.replace(str(secret), "***")
        return text


def locate(database: str | Path, results: Path | None = None) -> Location:
    """Reads what `--db` and `--results` say.

    Args:
        database: path of a SQLite file, `sqlite:///path`, or the URL of a PostgreSQL server.
        results: folder of the artifacts; for a file, the folder it lies in when not given.

    Raises:
        UsageError: another kind of database, no database named, or a server without `results`.
    """
    text = str(database)
    if "://" not in text:
        return _file(text, results)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # the text is not quoted: it may hold a password
        raise UsageError(
            "Expected a database URL such as postgresql+psycopg://user@host/name, found one that cannot be read. "
            "Check --db."
        ) from None
    if url.get_backend_name() == "sqlite":
        if url.query:
            raise UsageError("Expected sqlite:///path without options. Give --db the path of the file alone.")
        return _file(url.database or "", results)
    if url.get_backend_name() not in SERVERS:
        raise UsageError(
            f"Expected a SQLite file or a PostgreSQL URL, found {quoted(url.get_backend_name())}. "
            "Use --db path/to/results.db or --db postgresql+psycopg://host/name."
        )
    if results is None:
        raise UsageError("A database on a server needs a folder for its artifacts. Give one with --results.")
    return Location(url, None, results.expanduser().absolute())


def _file(text: str, results: Path | None) -> Location:
    if not text or text == ":memory:" or "\0" in text:
        raise UsageError(f"Expected the path of a SQLite file, found {quoted(text)}. Use --db path/to/results.db.")
    try:
        file = Path(text).expanduser().absolute()
    except RuntimeError as error:  # `~nobody/...`: no such home
        raise UnusableDatabase(f"The path {quoted(text)} cannot be read: {error}. Write it in full.") from None
    folder = file.parent if results is None else results.expanduser().absolute()
    return Location(URL.create("sqlite", database=str(file)), file, folder)
