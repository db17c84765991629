"""Ranking: who is ahead of whom on one board, and how surely."""

import pandas as pd
import streamlit as st

from arithloc.leaderboard import boards, charts, filters, frame, panels, tables
from arithloc.leaderboard.text import counted, md, score_text

BY_VIEW = "as the view says"


def reset(suite: boards.Suite) -> None:
    """Puts every filter back to its default: a value that is not set would come back from the address."""
    granularity, ablation = suite.questions[0]
    st.session_state.update(
        r_view=filters.PRESETS[0].label, r_suite=suite.label, r_gran=granularity, r_abl=ablation, r_score=BY_VIEW,
        r_model=[], r_task=[], r_access=[],
    )  # fmt: skip


st.title("Ranking", anchor=False)
suites = {suite.label: suite for suite in frame.query(boards.suites)}
if not suites:
    st.info(
        "`bench evaluate` runs the quick suite in under two minutes.", title="The database holds no finished run yet"
    )
    st.stop()

with st.container(horizontal=True, vertical_alignment="center"):
    labels = [preset.label for preset in filters.PRESETS]
    preset = filters.preset(frame.choice("View", labels, "r_view", label_visibility="collapsed"))
    with st.popover("Filters", icon=":material/tune:"):
        suite = suites[st.selectbox("Suite", list(suites), key="r_suite", bind="query-params")]
        st.caption(md(suite.title))
        granularity = frame.choice("Components", dict.fromkeys(g for g, _ in suite.questions), "r_gran")
        ablation = frame.choice("Ablation", [a for g, a in suite.questions if g == granularity], "r_abl")
        question = boards.Question(suite.suite_id, granularity, ablation, preset.toys_only)
        scores = [name for name in tables.MAIN_SCORES if name in frame.query(boards.scores, question)]
        by_label = {score_text(name).label: name for name in scores}
        rank_by = st.selectbox("Rank by", [BY_VIEW, *by_label], key="r_score", bind="query-params")
        facets = frame.query(boards.facets, question)
        chosen = filters.Filters.of(
            facets,
            models=frame.several("Models", facets.models, "r_model"),
            tasks=frame.several("Tasks", facets.tasks, "r_task"),
            access=frame.several("Access to the model", facets.access, "r_access"),
        )
    st.button(
        "Reset", icon=":material/restart_alt:", on_click=reset, args=(next(iter(suites.values())),), type="tertiary"
    )

score = by_label.get(rank_by, preset.score)
text = score_text(score)
others = [name for name in scores if name != score]
found = frame.query(boards.ranking, question, score, chosen)
beside = {name: frame.query(boards.ranking, question, name, chosen) for name in others}
if not found.required:
    st.info("No cell of this suite fits: choose other models and tasks, or another suite.")
    st.stop()
st.markdown(
    f"Ranked by **{md(text.label)}**, {'higher' if found.higher else 'lower'} is better: the mean over "
    f"{counted(found.required, 'cell')} of suite {md(suite.label)} ({granularity} components, {ablation} ablation"
    f"{', models with a proven circuit' if preset.toys_only else ''}). A rank is an interval; entries whose intervals share "
    "a rank are tied, and their order is not a ranking."
)
computed = "" if found.stored or chosen.cells else " Values and ranks were computed for this view."
st.caption(
    f"{text.summary} {chosen.summary(facets, len(found.ranked) + len(found.incomplete), facets.entries)}{computed}"
)


def wide(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one part of the board with the other scores beside them."""
    values = {name: pd.concat([b.ranked, b.incomplete, b.sanity]) for name, b in ((score, found), *beside.items())}
    return tables.board_table(tables.with_scores(rows, values), [score, *others])


with frame.guarded("ranking"):
    if found.ranked.empty:
        st.info("No entry has all cells of this board yet, so there is no rank to give.")
    else:
        picked = frame.table(
            wide(found.ranked), f"Ranking by {text.label}", pinned="Entry", width=172, on_select="rerun",
            selection_mode="single-cell", key="r_table",
        )  # fmt: skip
        for place, _ in picked.selection.cells:
            panels.ties(found.ranked, place)
        if not picked.selection.cells:
            st.caption("Choose a row to see with whom it is tied.")
        frame.chart(charts.intervals, tables.rank_rows(found.ranked, score), score, empty="No values.")
        st.caption("Rank interval, name and value with its 95 % interval, in the order of the table.")

if len(found.incomplete):
    with frame.panel("Incomplete entries"):
        st.caption("Without rank: a cell is missing or has no result. Values are means over the cells that are there.")
        frame.table(wide(found.incomplete), "Incomplete entries", pinned="Entry")

with frame.panel("Reference rows"):
    st.caption(
        "Random scores, and the proven circuit where there is one: what any method should beat, and the best there is."
    )
    if found.sanity.empty:
        st.markdown("None has been run on this board.")
    else:
        frame.table(wide(found.sanity), "Reference rows, not ranked", pinned="Entry")
