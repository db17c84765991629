"""Raw results: every cell, failed ones included, a hundred at a time."""

import streamlit as st

from arithloc.leaderboard import cells as queries
from arithloc.leaderboard import frame, raw, tables
from arithloc.leaderboard.text import counted


def first_page() -> None:
    """Back to page 1: another filter may have fewer pages."""
    st.session_state["raw_p"] = 1


def chosen(label: str, names: dict[str, str], key: str) -> tuple[str, ...]:
    """Ids of the chosen names; none chosen keeps all."""
    picked = st.multiselect(
        label, list(names.values()), key=key, bind="query-params", on_change=first_page, placeholder="All"
    )
    return tuple(identifier for identifier, name in names.items() if name in picked)


st.title("Raw results", anchor=False)
tasks, models = frame.query(queries.labels)
entries = {identifier: entry.label for identifier, entry in frame.query(queries.entries).items()}
with st.container(horizontal=True, vertical_alignment="bottom"):
    sort = st.selectbox("Order", list(raw.SORTS), key="raw_sort", bind="query-params", on_change=first_page, width=220)
    with st.popover("Filters", icon=":material/tune:"):
        wanted = raw.Wanted(
            chosen("Status", {s: s for s in raw.STATUSES}, "raw_status"),
            chosen("Entries", entries, "raw_entry"),
            chosen("Models", models, "raw_model"),
            chosen("Tasks", tasks, "raw_task"),
        )
count = frame.query(raw.raw_count, wanted)
total = frame.query(raw.raw_count, raw.Wanted())
listed = counted(total, "cell") if count == total else f"{count:,} of {counted(total, 'cell')}"
st.caption(f"{listed}, failed ones included. One row is one method on one task, model, granularity, ablation and seed.")
if not count:
    st.info("No cell fits these filters." if total else "The database holds no cell yet.")
    st.stop()
pages = -(-count // raw.PAGE)
page = st.pagination(pages, key="raw_p", bind="query-params") if pages > 1 else 1
rows = frame.query(raw.raw_page, wanted, sort, min(page, pages))
frame.table(tables.raw_table(rows), f"Cells, page {page} of {pages}", pinned="Entry")
