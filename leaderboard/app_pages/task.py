"""One task on one model: what every entry reaches there."""

import streamlit as st

from arithloc.leaderboard import cells as queries
from arithloc.leaderboard import charts, frame, panels, tables
from arithloc.leaderboard.text import counted, md, score_text

st.title("Task", anchor=False)
grid = frame.query(queries.questions)
if grid.empty:
    st.info("The database holds no finished cell yet.")
    st.stop()

with st.container(horizontal=True):
    task = st.selectbox("Task", grid["task"].unique(), key="t_task", bind="query-params", width=320)
    of_task = grid[grid["task"] == task]
    model = st.selectbox("Model", of_task["model"].unique(), key="t_model", bind="query-params", width=320)
    of_model = of_task[of_task["model"] == model]
with st.container(horizontal=True):
    granularity = frame.choice("Components", of_model["granularity"].unique(), "t_gran")
    of_granularity = of_model[of_model["granularity"] == granularity]
    ablation = frame.choice("Ablation", of_granularity["ablation"].unique(), "t_abl")
chosen = of_granularity[of_granularity["ablation"] == ablation].iloc[0]
st.markdown(md(chosen["summary"]))

cells = frame.query(queries.cells_of_task, chosen["task_id"], chosen["model_id"], granularity, ablation)
cells = cells.assign(label=tables.entry_labels(cells))
scores = frame.query(queries.scores_of, tuple(cells["key"]))
cells = tables.best_first(cells, scores, "faithfulness_area")
done = cells[cells["status"] == "ok"]
st.caption(f"{counted(len(done), 'finished cell')} of {len(cells)}, best faithfulness area first.")

with frame.panel("Faithfulness over circuit size"):
    panels.curves(dict(zip(done["label"], done["key"], strict=True)), ablation, "t_curves")

with frame.panel("Scores"):
    table = tables.task_table(cells, scores)
    frame.table(table, f"Scores on {task}, {model}", pinned="Entry")
    wide = tables.wide_scores(scores).reindex(done["key"])
    names = [name for name in tables.MAIN_SCORES if name in wide and wide[name].notna().any()]
    if names:
        score = frame.choice("Score", names, "t_score", format_func=lambda name: score_text(name).label)
        frame.chart(charts.intervals, tables.interval_rows(done["label"], wide, score), score, empty="No values.")
        st.caption(f"{score_text(score).summary} Bars are 95 % intervals of the paired cluster bootstrap.")
