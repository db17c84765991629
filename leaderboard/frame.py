"""What every page shares: the database, cached queries, panels that fail alone, charts with names, the footer."""

import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import altair as alt
import pandas as pd
import streamlit as st
from PIL.Image import Image
from PIL.Image import new as new_image

from arithloc.benchmark.api.errors import ArithlocError, UsageError
from arithloc.benchmark.storage.repository import Repository
from arithloc.leaderboard import data
from arithloc.leaderboard.charts import Chart
from arithloc.leaderboard.text import counted, md, moment

T = TypeVar("T")
Width = Literal["small", "medium", "large"] | int

DATABASE = "ARITHLOC_DB"
"""Environment variable that names the database, a path or a URL; `bench leaderboard` sets it."""

RESULTS = "ARITHLOC_RESULTS"
"""Environment variable that names the folder of the artifacts where it is not that of the database file."""

_log = logging.getLogger("arithloc.leaderboard")

LEFT = frozenset(
    "Status Access Error Message Device Component Components Ablation Role State Model Task Ended Page".split()
)
"""Columns of words; all others hold numbers."""


WHOLE_TABLE = 30
"""Tables of no more rows are shown whole, longer ones scroll."""

FEW_COLUMNS = 5
"""A table of no more columns is as wide as its content, so that a row is read in one glance."""


@dataclass(frozen=True)
class Source:
    """Where the results are.

    Attributes:
        database: path or URL.
        folder: of the artifacts, None for that of the file.
        file: number of the file on its disk, so that a replaced file is opened anew.
    """

    database: str
    folder: Path | None
    file: int | None

    @classmethod
    def given(cls) -> "Source":
        """What the environment names.

        Raises:
            UsageError: nothing.
        """
        database = os.environ.get(DATABASE, "").strip()
        if not database:
            raise UsageError(
                f"No results database is named. Start the board with 'bench leaderboard', or set {DATABASE}."
            )
        folder = os.environ.get(RESULTS, "").strip()
        try:
            file = Path(database).expanduser().stat().st_ino
        except OSError:
            file = None
        return cls(database, Path(folder) if folder else None, file)


@st.cache_resource(max_entries=4, show_spinner=False)
def _open(source: Source) -> Repository:
    return Repository.open(source.database, source.folder, read_only=True)


@st.cache_data(max_entries=256, show_spinner=False)
def _query(_function: Callable[..., T], name: str, source: Source, revision: int, arguments: tuple[Any, ...]) -> T:
    return _function(_open(source), *arguments)


@st.cache_resource(show_spinner=False)
def icon() -> Image:
    """Icon of the browser tab, three bars of a ranking; a named one would be fetched from another server."""
    image = new_image("RGBA", (32, 32))
    for left, top in ((2, 4), (12, 12), (22, 18)):
        image.paste((0, 114, 178, 255), (left, top, left + 8, 30))
    return image


def query(function: Callable[..., T], *arguments: Any) -> T:
    """Result of `function(results, *arguments)`, kept until the results change."""
    source = Source.given()
    name = f"{function.__module__}.{function.__qualname__}"  # Streamlit cannot hash a function
    return _query(function, name, source, _open(source).revision(), arguments)


def state() -> data.State:
    """State of the database; or the page ends here, with one sentence that says what is wrong with it."""
    try:
        return query(data.state)
    except ArithlocError as error:
        st.error(md(error), icon=":material/database:", title="No results to show")
        st.stop()


@contextmanager
def panel(title: str) -> Iterator[None]:
    """A part of a page under its own heading, `guarded`."""
    st.subheader(title, anchor=False)
    with guarded(title):
        yield


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """A part of a page: what goes wrong inside is logged and leaves the rest of the page standing."""
    try:
        yield
    except ArithlocError as error:
        st.warning(md(error))
    except Exception:
        report = uuid.uuid4().hex[:8]
        _log.exception("%s failed, report %s", name, report)
        st.error(f"This panel could not be drawn. The log of the server has the cause under report {report}.")


def choice(label: str, options: Iterable[str], key: str, *, format_func: Callable[[str], str] = md, **more: Any) -> str:
    """One of a few values, all in view, the first being the default; its address parameter is `key`."""
    values = list(options)
    chosen = st.segmented_control(
        label,
        values,
        default=values[0],
        required=True,
        key=key,
        bind="query-params",
        wrap=True,
        format_func=format_func,
        **more,
    )
    return values[0] if chosen is None else chosen


def several(label: str, options: Iterable[str], key: str) -> list[str]:
    """Some of many values, none chosen meaning all; its address parameter is `key`."""
    return st.multiselect(label, list(options), key=key, bind="query-params", placeholder="All")


def table(frame: pd.DataFrame, name: str, *, pinned: str, width: Width = "medium", **options: Any) -> Any:
    """Draws a table of ready text: the name stays in view, numbers are on the right, links open the entry."""
    columns: dict[str, Any] = {
        name: st.column_config.TextColumn(alignment="left" if name in LEFT else "right") for name in frame.columns
    }
    columns[pinned] = st.column_config.TextColumn(pinned=True, width=width)
    if "Page" in columns:
        columns["Page"] = st.column_config.LinkColumn("Page", display_text="open", width="small")
    options.setdefault("height", "content" if len(frame) <= WHOLE_TABLE else "auto")
    options.setdefault("width", "stretch" if len(columns) > FEW_COLUMNS else "content")
    return st.dataframe(frame, hide_index=True, column_config=columns, alt=name, **options)


def chart(function: Callable[..., Chart], frame: pd.DataFrame, *arguments: Any, empty: str, **options: Any) -> None:
    """Draws `function(frame, ...)` with its description as accessible name, or says that there is nothing to draw."""
    if frame.empty:
        st.caption(empty)
        return
    drawn = function(frame, *arguments, **options)
    name = str(drawn.description)
    drawn.description = alt.Undefined  # Streamlit takes the accessible name separately
    st.altair_chart(drawn, alt=name)


def footer(state: data.State) -> None:
    """The last line of every page."""
    st.divider()
    versions = ", ".join(map(str, state.scoring_versions)) or "none yet"
    st.caption(
        f"arithloc · scoring version {versions} · results revision {state.results} · "
        f"{counted(state.cells, 'cell')} · updated {md(moment(state.updated_at))} UTC"
    )
