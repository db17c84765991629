"""Parts of pages that show one entry or one cell."""

import json
from collections.abc import Mapping

import pandas as pd
import streamlit as st

from arithloc.benchmark.api import Granularity
from arithloc.leaderboard import cells as queries
from arithloc.leaderboard import charts, frame, tables
from arithloc.leaderboard.components import Components, component_scores
from arithloc.leaderboard.text import counted, hash_of, listed, md, reference_url

N_STRONGEST = 20
"""Rows of the table of strongest components."""

NEURONS = 0.01
"""Share of the neurons that is counted by layer, but no fewer than the table lists."""


def heading(entry: queries.Entry, n_cells: int, n_done: int) -> None:
    """Title, badges, summary and reference of an entry."""
    st.title(md(entry.label), anchor=False)
    with st.container(horizontal=True, gap="small"):
        st.badge(md(entry.kind), color="blue")
        st.badge(f"access: {md(entry.access)}", color="gray")
        st.badge(f"scores {md(', '.join(entry.granularities))}", color="gray")
        if entry.sanity:
            st.badge("reference row, never ranked", color="violet")
        if n_done < n_cells:
            st.badge(f"{counted(n_cells - n_done, 'cell')} without result", color="orange")
    st.markdown(md(entry.summary))
    url = reference_url(entry.reference)
    if url:
        st.markdown(f"Reference: [{md(entry.reference)}]({url})")
    elif entry.reference:
        st.markdown(f"Reference: {md(entry.reference)}")


def ties(ranked: pd.DataFrame, place: int) -> None:
    """Says with whom the chosen entry of a ranking is tied.

    Args:
        ranked: columns `entry_id`, `label`, `tied`.
        place: its row; a row that is gone, after another filter, is not shown.
    """
    if place >= len(ranked):
        return
    row = ranked.iloc[place]
    words = f"tied with {listed([md(name) for name in row['tied']])}" if row["tied"] else "tied with nobody"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{md(row['label'])}**: {words}.", width="content")
        st.page_link(
            "app_pages/entry.py", label="Open", icon=":material/arrow_forward:", query_params={"id": row["entry_id"]}
        )


def curves(keys: Mapping[str, str], ablation: str, key: str) -> None:
    """Faithfulness curves of some cells, to choose from.

    Args:
        keys: cell keys by the name they get in the chart.
        ablation: what replaces the rest of the model, for the caption.
        key: key of the widget.
    """
    shown = st.multiselect("Curves", list(keys), default=list(keys)[:4], max_selections=queries.MAX_CURVES, key=key)
    points = tables.named(frame.query(queries.curves, tuple(keys[label] for label in shown), "kept"), keys)
    frame.chart(charts.faithfulness_curve, points, empty="No curve: choose a finished cell.")
    st.caption(
        f"Everything outside the circuit is ablated ({md(ablation)}). The band is the 95 % interval; dotted lines stand at "
        "f = 0, 0.9 and 1. What lies outside the frame is cut; the table has every point."
    )
    points_panel = st.expander("Points as a table", key=f"{key}_points", on_change="rerun")
    if points_panel.open:
        with points_panel:
            frame.table(tables.points_table(points), "Points of the curves", pinned="Curve")


def components(key: str) -> None:
    """Where the component scores of a cell lie, and the strongest of them."""
    scores = frame.query(component_scores, key)
    picture, list_of_strongest = st.columns([3, 2], gap="medium")
    with picture:
        _picture(scores)
    with list_of_strongest:
        strongest = scores.strongest(N_STRONGEST)
        frame.table(tables.strongest_table(strongest), "Strongest components", pinned="Component")
        st.caption(f"The {len(strongest)} strongest of {counted(len(scores.space), 'component')}, by absolute score.")


def _picture(scores: Components) -> None:
    space, none = scores.space, "No component was scored."
    if space.granularity is Granularity.NEURON:
        n_top = min(max(round(len(space) * NEURONS), N_STRONGEST), len(space))
        frame.chart(charts.layer_counts, scores.by_layer(n_top), n_top, empty=none)
    else:
        title = "Head" if space.granularity is Granularity.NODE else "Block"
        position = frame.choice("Position", space.classes, "e_position") if space.classes else None
        frame.chart(charts.heat_layer_slot, scores.grid(position), scores.slots, x_title=title, empty=none)
        if space.classes:
            st.caption("Strongest component of each layer at each position, positions in prompt order:")
            frame.chart(
                charts.heat_layer_slot, scores.by_position(), list(space.classes), x_title="Position", empty=none
            )


def circuit_tests(key: str) -> None:
    """Tests of the circuit of a cell, or the command that makes them."""
    tests = frame.query(queries.circuit_tests_of, key)
    if tests.empty:
        st.caption(f"Not tested: `bench audit-circuit {key[:12]}` does.")
        return
    frame.table(tables.circuit_tests_table(tests), "Tests of the circuit", pinned="Test")
    st.caption(
        "p of equivalence, sufficiency and necessity: small speaks for the circuit; p of difference and independence: small "
        "speaks against it. n counts clusters, random circuits or runs."
    )


def provenance(key: str) -> None:
    """What a cell's numbers come from, with hashes cut; the file has all of it."""
    groups = frame.query(queries.provenance, key)
    with st.grid(2, min_column_width=330):
        for group, fields in groups.items():
            with st.container(gap="xsmall"):
                st.markdown(f"**{group}**")
                rows = {md(name): md(hash_of(value)) for name, value in fields.items()}
                st.table(rows, border="horizontal", hide_header=True, alt=group)
    document = json.dumps(groups, indent=2)
    st.download_button("Provenance (JSON)", document, f"{key[:16]}.json", "application/json", on_click="ignore")
