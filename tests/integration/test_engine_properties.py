"""Patches, captures, gradients and sweep donors at random places, of random prompts and batches."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference, tiny
from support.random_pairs import CLASSES, random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation
from arithloc.benchmark.engine import Intervention, Site, SiteKind

FEW = settings(max_examples=6, deadline=None, database=None, derandomize=True)
SIZE = {SiteKind.HEAD: 4, SiteKind.HIDDEN: 40}
STEP = 1e-6


@dataclasses.dataclass(frozen=True)
class Case:
    """What a test draws."""

    model: object
    pairs: list
    others: list
    sites: list
    positions: str
    batcher: engine.Batcher
    generator: torch.Generator

    def vector(self, site):
        """One random vector for each pair."""
        size = engine.sites.width(site, self.model.shape)
        return torch.randn(len(self.pairs), *size, generator=self.generator, dtype=torch.float64)


@st.composite
def cases(draw, sites=3):
    """Plain values that `built` makes a case of: models are not made inside strategies."""
    found = []
    for kind in draw(st.lists(st.sampled_from(list(SiteKind)), min_size=1, max_size=sites)):
        layer = draw(st.integers(0, 2 if kind is SiteKind.RESIDUAL else 1))
        found.append(Site(kind, layer, draw(st.none() | st.integers(0, SIZE.get(kind, 24) - 1))))
    return {
        "family": draw(st.sampled_from(("qwen2", "gptj", "gemma2"))),
        "lengths": draw(st.lists(st.integers(6, 9), min_size=1, max_size=3)),
        "shots": draw(st.integers(0, 2)),
        "seed": draw(st.integers(0, 99)),
        "sites": found,
        "positions": draw(st.sampled_from(("all", *CLASSES))),
        "tokens": draw(st.integers(1, 200)),
    }


def built(family, lengths, shots, seed, sites, positions, tokens):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, lengths, shots=shots, seed=seed)
    others = random_pairs(model.shape.vocab, [*lengths, 7], shots=shots, seed=seed + 100)
    generator = torch.Generator().manual_seed(seed)
    return Case(model, pairs, others, sites, positions, engine.Batcher(model, tokens=tokens), generator)


def filled(case, site, value, pair):
    """The activations of a pair's place with one vector at the site, at every token."""
    place = (site.kind.value, site.layer)
    activation = reference.run(case.model, pair.clean_ids)[0][place].clone()
    activation[:, reference.columns_of(case.model, site.kind.value, site.index)] = value.flatten()
    return activation


@FEW
@given(drawn=cases(), data=st.data())
def test_any_interventions(drawn, data):
    """A run, an ablation and given vectors, in the order given where they meet."""
    case = built(**drawn)
    kinds = [data.draw(st.sampled_from(("counterfactual", "zero", "mean", "vector"))) for _ in case.sites]
    vectors = [case.vector(site) for site in case.sites]
    values = {"counterfactual": "counterfactual", "zero": Ablation.ZERO, "mean": Ablation.MEAN}
    interventions = [
        Intervention(site, values.get(kind, vector), case.positions)
        for site, kind, vector in zip(case.sites, kinds, vectors, strict=True)
    ]
    found = engine.patch(case.model, case.pairs, interventions, reference=case.others, batcher=case.batcher)
    for i, pair in enumerate(case.pairs):
        other = reference.run(case.model, pair.counterfactual_ids)[0]
        mean = reference.mean_activations(case.model, pair, case.others)
        changes = {}
        for site, kind, vector in zip(case.sites, kinds, vectors, strict=True):
            place = (site.kind.value, site.layer)
            donor = {"counterfactual": other[place], "mean": mean[place], "zero": 0 * other[place]}.get(kind)
            donor = filled(case, site, vector[i], pair) if donor is None else donor
            columns = reference.columns_of(case.model, site.kind.value, site.index)
            step, before = reference.swap(donor, reference.touched(pair, case.positions), columns), changes.get(place)
            changes[place] = step if before is None else lambda x, step=step, before=before: step(before(x))
        logits = reference.run(case.model, pair.clean_ids, changes)[1]
        reference.assert_equal(found, (), i, reference.readings_of(case.model, pair, logits), torch.float64)


@FEW
@given(drawn=cases(), run=st.sampled_from(("clean", "counterfactual")))
def test_any_captures(drawn, run):
    case = built(**drawn)
    found = engine.capture(case.model, case.pairs, case.sites, run, case.positions, batcher=case.batcher)
    for i, pair in enumerate(case.pairs):
        acts = reference.run(case.model, pair.clean_ids if run == "clean" else pair.counterfactual_ids)[0]
        rows = reference.touched(pair, case.positions)
        assert found.positions[i] == tuple(rows)
        for site in case.sites:
            columns = reference.columns_of(case.model, site.kind.value, site.index)
            expected = acts[site.kind.value, site.layer][rows, columns]
            torch.testing.assert_close(found.ragged(site)[i].reshape(expected.shape), expected, rtol=0, atol=1e-9)


@FEW
@given(drawn=cases(sites=2), run=st.sampled_from(("clean", "counterfactual")), steps=st.integers(1, 2))
def test_any_gradients(drawn, run, steps):
    """Along the embeddings between zero and the run, against central differences."""
    case = built(**drawn)
    found = engine.gradients(
        case.model,
        case.pairs,
        case.sites,
        run=run,
        baseline=Ablation.ZERO,
        steps=steps,
        rule="midpoint",
        positions=case.positions,
        batcher=case.batcher,
    )
    for i, pair in enumerate(case.pairs):
        ids, rows = pair.clean_ids if run == "clean" else pair.counterfactual_ids, reference.touched(pair, "all")
        end = reference.run(case.model, ids)[0]["residual", 0]
        touched = reference.touched(pair, case.positions)
        for site in case.sites:
            place, columns = (
                (site.kind.value, site.layer),
                reference.columns_of(case.model, site.kind.value, site.index),
            )
            direction = torch.zeros_like(reference.run(case.model, ids)[0][place])
            draw = torch.randn(direction[touched, columns].shape, generator=case.generator, dtype=torch.float64)
            direction[touched, columns] = draw
            expected = 0.0
            for k in range(steps):
                point = end.clone()
                point[rows] *= (k + 0.5) / steps
                values = []
                for sign in (1, -1):
                    changes = {("residual", 0): lambda _, point=point: point}
                    first = changes.get(place, lambda x: x)
                    step = sign * STEP * direction
                    changes[place] = lambda x, first=first, step=step: first(x) + step
                    logits = reference.run(case.model, ids, changes)[1]
                    values.append(float(logits[pair.answer_token] - logits[pair.foil_token]))
                expected += (values[0] - values[1]) / (2 * STEP) / steps
            slope = float((found.ragged(site)[i].reshape(draw.shape) * draw).sum())
            assert slope == pytest.approx(expected, abs=1e-6, rel=1e-5)


@FEW
@given(drawn=cases(), donor=st.sampled_from(("mean", "zero", "given")))
def test_any_sweep_donors(drawn, donor):
    """Means, zeros, and vectors given for each pair and site."""
    case = built(**drawn)
    sites = list(dict.fromkeys(case.sites))
    sites = [site for site in sites if site.index is None or site.whole not in sites]
    vectors = {site: case.vector(site) for site in sites}
    values = {"mean": Ablation.MEAN, "zero": Ablation.ZERO}.get(donor, vectors)
    found = engine.sweep(
        case.model,
        case.pairs,
        sites,
        run="clean",
        donor=values,
        positions=case.positions,
        reference=case.others,
        batcher=case.batcher,
    )
    assert np.isfinite(found.answer).all()
    for i, pair in enumerate(case.pairs):
        acts = reference.run(case.model, pair.clean_ids)[0]
        mean = reference.mean_activations(case.model, pair, case.others) if donor == "mean" else {}
        for row, site in enumerate(sites):
            place = (site.kind.value, site.layer)
            taken = {"mean": mean.get(place), "zero": 0 * acts[place]}.get(donor)
            taken = filled(case, site, vectors[site][i], pair) if taken is None else taken
            logits = reference.sweep_one(
                case.model, pair, place, site.index, case.positions, pair.clean_ids, {place: taken}
            )
            reference.assert_equal(found, (row,), i, reference.readings_of(case.model, pair, logits), torch.float64)
