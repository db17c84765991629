"""One entry: what it is, how to run it, its numbers and where they come from. `?id=` names it."""

import shlex

import streamlit as st

from arithloc.leaderboard import cells as queries
from arithloc.leaderboard import charts, filters, frame, panels, tables
from arithloc.leaderboard.text import counted, md, plain, score_text

asked = plain((st.query_params.get_all("id") or [""])[-1])
entries = frame.query(queries.entries)
entry = entries.get(asked)
st.page_link("app_pages/ranking.py", label="Back to the ranking", icon=":material/arrow_back:")
if entry is None:
    st.title("No such entry", anchor=False)
    st.markdown(f"No entry has the id {md(asked)}." if asked else "The address names no entry.")
    for near in filters.nearest(asked, list(entries)) or list(entries)[:3]:
        st.page_link("app_pages/entry.py", label=md(entries[near].label), query_params={"id": near})
    st.stop()

cells = frame.query(queries.cells_of_entry, entry.entry_id)
panels.heading(entry, len(cells), int((cells["status"] == "ok").sum()))
with frame.panel("How to run it"):
    st.code(f"bench evaluate --method {shlex.quote(entry.argument)}", language="bash", wrap_lines=True)
    st.caption(
        f"{md(entry.method)} version {md(entry.version)} from {md(entry.distribution)}, source {entry.source_hash[:16]}, "
        f"on this board since {entry.created_at[:10]}."
    )
if cells.empty:
    st.info("No cell of this entry has been run.")
    st.stop()

with st.container(horizontal=True):
    granularity = frame.choice("Components", cells["granularity"].unique(), "e_gran")
    ablation = frame.choice("Ablation", cells[cells["granularity"] == granularity]["ablation"].unique(), "e_abl")
kept = cells[(cells["granularity"] == granularity) & (cells["ablation"] == ablation)]
kept = kept.assign(label=tables.cell_labels(kept))
done = kept[kept["status"] == "ok"]
scores = frame.query(queries.scores_of, tuple(done["key"]))

with frame.panel("Score per cell"):
    wide = tables.wide_scores(scores).reindex(done["key"])
    frame.table(tables.cells_table(kept, scores), "Scores per cell", pinned="Cell")
    names = [name for name in tables.MAIN_SCORES if name in wide and wide[name].notna().any()]
    if names:
        score = frame.choice("Score", names, "e_score", format_func=lambda name: score_text(name).label)
        frame.chart(charts.intervals, tables.interval_rows(done["label"], wide, score), score, empty="No values.")
        st.caption(f"{score_text(score).summary} Bars are 95 % intervals of the paired cluster bootstrap.")

with frame.panel("Faithfulness over circuit size"):
    panels.curves(dict(zip(done["label"], done["key"], strict=True)), ablation, "e_curves")

with frame.panel("Components of one cell"):
    cell = kept.set_index("label").loc[st.selectbox("Cell", list(kept["label"]), key="e_cell")]
    if cell["status"] == "ok":
        panels.components(cell["key"])
    else:
        st.warning(f"{md(cell['error_type'])}: {md(cell['error_message'])}", title=f"Status {md(cell['status'])}")

if cell["status"] == "ok":
    with frame.panel("Tests of this cell's circuit"):
        panels.circuit_tests(cell["key"])

with frame.panel("Provenance of this cell"):
    st.code(frame.query(queries.command, cell["key"], entry.argument), language="bash", wrap_lines=True)
    panels.provenance(cell["key"])

with frame.panel("Attempts"):
    tries = frame.query(queries.attempts, tuple(cells["key"]))
    failed = int((tries["status"] != "ok").sum())
    st.caption(f"{counted(len(tries), 'attempt')} at {counted(len(cells), 'cell')}, {failed} without result.")
    frame.table(tables.attempts_table(tries, cells), "Attempts", pinned="Cell")

with st.container(horizontal=True):
    every = frame.query(queries.scores_of, tuple(cells["key"]))
    st.download_button(
        "Scores (CSV)", every.to_csv(index=False), f"{entry.entry_id}-scores.csv", "text/csv", on_click="ignore"
    )
