"""Ranking: who is ahead of whom on one board, and how surely."""

from collections.abc import Sequence

import streamlit as st

from arithloc.leaderboard import data, filters, frame
from arithloc.leaderboard.text import score_text

KEYS = ("r_view", "r_suite", "r_gran", "r_abl", "r_score", "r_model", "r_task", "r_access")


def reset() -> None:
    """Puts every filter back to its default."""
    for key in KEYS:
        st.session_state.pop(key, None)


def choice(label: str, options: Sequence[str], key: str, help_text: str | None = None) -> str:
    """One of a few values, all of them visible; the first is the default."""
    chosen = st.segmented_control(
        label, options, default=options[0], required=True, key=key, bind="query-params", help=help_text
    )
    return chosen or options[0]


st.title("Ranking", anchor=False)
boards = frame.query(data.boards)
if not boards:
    st.info("`bench evaluate` runs the quick suite in under two minutes.", title="The database holds no results yet")
    st.stop()

with st.container(horizontal=True, vertical_alignment="bottom"):
    preset = filters.preset(
        st.segmented_control(
            "View", [p.label for p in filters.PRESETS], default=filters.PRESETS[0].label, required=True,
            key="r_view", bind="query-params", label_visibility="collapsed",
        )
    )  # fmt: skip
    with st.popover("Filters", icon=":material/tune:"):
        suites = list(dict.fromkeys(b.suite for b in boards))
        suite = st.selectbox("Suite", suites, key="r_suite", bind="query-params")
        of_suite = [b for b in boards if b.suite == suite]
        granularity = choice("Components", list(dict.fromkeys(b.granularity for b in of_suite)), "r_gran")
        ablation = choice(
            "Ablation", list(dict.fromkeys(b.ablation for b in of_suite if b.granularity == granularity)), "r_abl"
        )
        question = data.Question(suite, granularity, ablation)
        facets = frame.query(data.facets, question, preset.toys_only)
        scores = [preset.score, *(s for s in frame.query(data.scores, question) if s != preset.score)]
        score = st.selectbox(
            "Rank by", scores, key="r_score", bind="query-params", format_func=lambda name: score_text(name).label
        )
        models = st.multiselect(
            "Models", list(facets.models), key="r_model", bind="query-params", placeholder="All models"
        )
        tasks = st.multiselect("Tasks", list(facets.tasks), key="r_task", bind="query-params", placeholder="All tasks")
        access = st.multiselect(
            "Access to the model", list(facets.access), key="r_access", bind="query-params", placeholder="Any access",
            help="What a method needs: forward passes, gradients or training. Hides rows; changes no rank.",
        )  # fmt: skip
    st.button("Reset", icon=":material/restart_alt:", on_click=reset, type="tertiary")

chosen = filters.Filters.of(facets, models, tasks, access)
board = frame.query(data.ranking, question, score, chosen, preset.toys_only)
