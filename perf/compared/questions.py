"""The compared questions, asked of a library with functions on activations: one forward of all pairs per site or circuit."""

from collections.abc import Sequence

import torch
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark.api import ModelShape, PromptPair
from arithloc.benchmark.engine import Site, SiteKind
from compared.hooked import CachedHooks, Edit, Hooked, cached, ids_of, logit_diff
from compared.measure import Cost, measured


def spread(n: int, some: int) -> list[int]:
    """`some` of `range(n)`, in the middle of equal stretches; all where `some` is 0 or not below n."""
    if not 0 < some < n:
        return list(range(n))
    return [int((i + 0.5) * n / some) for i in range(some)]


def patched_in(donor: Tensor, index: int | None, *, last: bool) -> Edit:
    """Replaces an activation, or one head of it, with the donor's."""

    def edit(value: Tensor) -> Tensor:
        where = slice(-1, None) if last else slice(None)
        value = value.clone()
        if index is None:
            value[:, where] = donor[:, where]
        else:
            value[:, where, index] = donor[:, where, index]
        return value

    return edit


def sweep(
    peer: Hooked, pairs: Sequence[PromptPair], sites: Sequence[Site], chosen: Sequence[int], *, last: bool
) -> tuple[ndarray, Cost]:
    """Counterfactual runs with the clean run's value at one of the chosen sites: logit differences, (site, pair).

    The cost is that of all sites: the run that keeps the donor, and the chosen sites' runs times the share chosen.
    """
    ids, donor_ids = ids_of(pairs, "counterfactual"), ids_of(pairs, "clean")

    def prepare() -> dict[Site, Tensor]:
        if isinstance(peer, CachedHooks):
            peer.keep(ids)
        return cached(peer, donor_ids, list(dict.fromkeys(site.whole for site in sites)))[0]

    def run() -> ndarray:
        rows = []
        for i in chosen:
            site = sites[i]
            edit = patched_in(donor[site.whole], site.index, last=last)
            rows.append(logit_diff(peer.logits(ids, {site.whole: edit}), pairs))
        return torch.stack(rows).numpy()

    with torch.inference_mode():
        donor, before = measured(prepare)
        values, cost = measured(run)
    return values, before + cost.scaled(len(sites) / len(chosen))


def path_patching(
    peer: Hooked, pairs: Sequence[PromptPair], sites: Sequence[Site], chosen: Sequence[int], n_layers: int
) -> tuple[ndarray, Cost]:
    """Clean runs with one sender's counterfactual value and all later heads frozen: logit differences, (site, pair)."""
    ids, donor_ids = ids_of(pairs, "clean"), ids_of(pairs, "counterfactual")
    heads = [Site(SiteKind.HEAD, layer) for layer in range(n_layers)]

    def frozen(layer: int) -> Edit:
        return lambda value: base[heads[layer]]

    def run() -> ndarray:
        rows = []
        for i in chosen:
            site = sites[i]
            edits = {heads[layer]: frozen(layer) for layer in range(site.layer + 1, n_layers)}
            edits[site.whole] = patched_in(donor[site.whole], site.index, last=False)
            rows.append(logit_diff(peer.logits(ids, edits), pairs))
        return torch.stack(rows).numpy()

    with torch.inference_mode():
        base, first = measured(lambda: cached(peer, ids, heads)[0])
        wholes = list(dict.fromkeys(site.whole for site in sites))
        donor, second = measured(lambda: cached(peer, donor_ids, wholes)[0])
        values, cost = measured(run)
    return values, first + second + cost.scaled(len(sites) / len(chosen))


def curve(peer: Hooked, pairs: Sequence[PromptPair], kept: ndarray, shape: ModelShape) -> tuple[ndarray, Cost]:
    """Clean runs with everything outside each node circuit from the counterfactual run: logit differences.

    The empty circuit is the counterfactual run, whose logits are there already.
    """
    ids, donor_ids = ids_of(pairs, "clean"), ids_of(pairs, "counterfactual")
    layers = range(shape.n_layers)
    sites = [Site(kind, layer) for layer in layers for kind in (SiteKind.HEAD, SiteKind.MLP)]
    grid = torch.from_numpy(kept.reshape(len(kept), shape.n_layers, shape.n_heads + 1))

    def edits(circuit: Tensor) -> dict[Site, Edit]:
        found: dict[Site, Edit] = {}
        for layer in layers:
            heads, mlp = circuit[layer, :-1], bool(circuit[layer, -1])
            if not bool(heads.all()):
                found[Site(SiteKind.HEAD, layer)] = _mixed(donor[Site(SiteKind.HEAD, layer)], heads)
            if not mlp:
                found[Site(SiteKind.MLP, layer)] = lambda value, layer=layer: donor[Site(SiteKind.MLP, layer)]
        return found

    def run() -> ndarray:
        rows = [peer.logits(ids, edits(circuit)) if bool(circuit.any()) else empty for circuit in grid]
        return torch.stack([logit_diff(row, pairs) for row in rows]).numpy()

    with torch.inference_mode():
        (donor, empty), before = measured(lambda: cached(peer, donor_ids, sites))
        values, cost = measured(run)
    return values, before + cost


def _mixed(donor: Tensor, heads: Tensor) -> Edit:
    keep = heads[:, None].to(donor.device)
    return lambda value: torch.where(keep, value, donor)
