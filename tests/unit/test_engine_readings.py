"""Per-pair metrics of arbitrary logits: recomputed by scipy from probabilities, bounds, and what a shift leaves alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy
from support.random_pairs import random_pairs

from arithloc.benchmark.engine.readings import METRICS, ReadingsBuilder, Reducer
from arithloc.benchmark.metrics.faithfulness import faithfulness

VOCAB = 40
CLEAN, PATCHED, COUNTERFACTUAL = (0.7, 0.2, 0.1), (0.5, 0.3, 0.2), (0.2, 0.3, 0.5)
PAIRS = random_pairs(VOCAB, (6, 6, 6))


def readings(clean, run):
    reducer = Reducer(PAIRS, torch.tensor(clean))
    builder = ReadingsBuilder((), PAIRS)
    builder.clean_top(range(3), reducer.clean_top)
    builder.put(reducer(torch.tensor(run).unsqueeze(1)), range(3))
    return builder.build()


def test_ex_11():
    """KL in nats, summed over the vocabulary: .0851228 and .6348973, so a recovery of .8659266."""
    logits = np.full((3, 3, VOCAB), -1e9)
    for row, probabilities in enumerate((CLEAN, PATCHED, COUNTERFACTUAL)):
        logits[row, :, :3] = np.log(probabilities)
    patched, counterfactual = (readings(logits[0], run).metric("kl") for run in logits[1:])
    assert patched == pytest.approx([0.0851228] * 3, abs=1e-6)
    assert counterfactual == pytest.approx([0.6348973] * 3, abs=1e-6)
    assert float(faithfulness(-patched, np.zeros(3), -counterfactual)) == pytest.approx(0.8659266, abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.floats(0.1, 6), st.floats(-50, 50))
def test_metrics_agree_with_scipy_and_only_one_sees_a_shift(seed, spread, shift):
    rng = np.random.default_rng(seed)
    clean, run = rng.normal(0, spread, (2, 3, VOCAB))
    found, moved = readings(clean, run), readings(clean - shift, run + shift)
    p, q = softmax(clean, axis=-1), softmax(run, axis=-1)
    for i, pair in enumerate(PAIRS):
        a, b = pair.answer_token, pair.foil_token
        expected = {
            "logit_diff": np.log(q[i, a]) - np.log(q[i, b]),
            "logprob_diff": np.log(q[i, a]) - np.log(q[i, b]),
            "logprob": np.log(q[i, a]),
            "prob": q[i, a],
            "accuracy": all(q[i, a] >= other for other in q[i]),
            "accuracy_candidates": all(q[i, a] >= q[i, token] for token in pair.candidates),
            "kl": entropy(p[i], q[i]),
            "agreement": max(range(VOCAB), key=p[i].__getitem__) == max(range(VOCAB), key=q[i].__getitem__),
            "normalised_logit": run[i, a] / max(run[i]),
        }
        assert set(expected) == set(METRICS)
        for name, value in expected.items():
            assert found.metric(name)[i] == pytest.approx(float(value), rel=1e-9, abs=1e-9)
            if name != "normalised_logit":
                assert moved.metric(name)[i] == pytest.approx(float(value), rel=1e-8, abs=1e-8)
    assert (found.metric("kl") >= -1e-12).all() and (found.metric("prob") <= 1).all()
    assert (readings(clean, clean).metric("kl") == 0).all()
