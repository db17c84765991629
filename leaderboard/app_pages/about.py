"""About: what each score means and how ranks come about."""

import streamlit as st

from arithloc.leaderboard import frame, text
from arithloc.leaderboard.cells import GRANULARITIES

st.title("About", anchor=False)
st.markdown(
    "arithloc scores localization methods for language models: a method says which components of a model carry a "
    "computation (arithmetic, and matched controls), and arithloc measures how faithful and how sparse that claim is, "
    "on real models and on toy transformers whose circuit is proven."
)

with frame.panel("Scores"):
    for score in text.SCORES.values():
        st.markdown(f"**{text.md(score.label)}.** {text.md(score.summary)}")
        if score.equation:
            st.latex(score.equation)

with frame.panel("How a circuit is measured"):
    st.markdown(
        "Components are ordered by absolute score. For every size, the strongest ones are kept, components that are not on a "
        "path from the input to the logits are dropped, and everything else is ablated. With $m(C)$ the mean over pairs of "
        "the logit of the answer minus the logit of the counterfactual answer, $M$ the full model and $0$ the empty circuit:"
    )
    st.latex(r"f(C) = \frac{m(C) - m(0)}{m(M) - m(0)}, \qquad g(f) = 1 - \min(|1 - f|, 1)")
    st.markdown(
        "The size of a circuit is the weighted share of the model's edges that it keeps, so that circuits of different "
        f"granularities ({text.listed([str(g) for g in GRANULARITIES])}) share one unit. Ablations: counterfactual (the "
        "value in the pair's counterfactual run), mean, zero, resample (the value of another pair)."
    )

with frame.panel("Intervals"):
    st.markdown(
        "Every number has a 95 % interval from a paired cluster bootstrap: operand pairs are resampled, with the same "
        "resamples for all methods on the same data, so that differences are paired too. Fewer than 20 clusters make an "
        "interval unreliable. An interval end that was not reached is shown as `>`."
    )

with frame.panel("Ranks"):
    st.markdown(
        "A board is a suite, a granularity, an ablation and a score; its value is the mean over the suite's cells, seeds "
        "averaged inside a cell. For entries $i$ and $j$ with values $V_i$, $V_j$ and bootstrap standard deviation $s_{ij}$ "
        "of the difference, $q$ is the 95 % quantile of the largest standardised deviation over all pairs:"
    )
    st.latex(
        r"T_b = \max_{i<j} \frac{|(V_i^b - V_j^b) - (V_i - V_j)|}{s_{ij}}, \qquad i \text{ beats } j \iff \frac{V_i - V_j}{s_{ij}} > q"
    )
    st.markdown(
        "The rank interval of an entry runs from one more than the number of entries that beat it to the number of entries "
        "it does not beat, itself included; it holds for the whole board at once. Entries whose intervals share a rank are "
        "tied, and their order is not a ranking. An entry with a missing or failed cell is listed below, without a rank. "
        "Reference rows (random scores, the proven circuit) are shown and never ranked. Different ablations and "
        "granularities are never averaged."
    )
    st.markdown(
        "A filter on models or tasks recomputes values and ranks over the kept cells. Hiding an entry changes nobody's rank."
    )

with frame.panel("Known circuits"):
    st.markdown(
        "Toy models come with a circuit that is proven by construction or by exhaustive interventions. Scores are compared "
        "with it by absolute value; undecided components count on neither side. Chance is 0.5 for AUROC and the share of "
        "circuit components for average precision."
    )

with frame.panel("Licence"):
    st.markdown("arithloc and its results are under the Apache License 2.0.")
