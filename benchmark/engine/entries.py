"""Where patched rows enter the model: the residual stream right after one site was replaced."""

from collections.abc import Iterable, Sequence
from enum import IntEnum

import torch
from jaxtyping import Bool
from torch import Tensor

from arithloc.benchmark.engine.blocks import (
    Rows,
    after_attention,
    after_mlp,
    has_attention_norm,
    has_mlp_norm,
)
from arithloc.benchmark.engine.sites import Site, SiteKind
from arithloc.benchmark.models import SubjectModel

Values = dict[Site, Tensor]
"""Activations at whole sites, (pair, pos, *width)."""


class Entry(IntEnum):
    """The point of a block at which a row joins."""

    INPUT = 0
    """Before attention."""
    MIDDLE = 1
    """After attention, before the MLP."""
    OUTPUT = 2
    """After the MLP."""


_ENTRY = {
    SiteKind.RESIDUAL: Entry.INPUT,
    SiteKind.ATTENTION: Entry.MIDDLE,
    SiteKind.HEAD: Entry.MIDDLE,
    SiteKind.HIDDEN: Entry.OUTPUT,
    SiteKind.MLP: Entry.OUTPUT,
}


def entry(site: Site, model: SubjectModel) -> tuple[int, Entry]:
    """Layer and point at which a row patched at `site` joins.

    In a parallel block the MLP does not read what attention writes, so both join after it.
    """
    point = _ENTRY[site.kind]
    return site.layer, Entry.OUTPUT if model.shape.parallel and point is Entry.MIDDLE else point


def base_sites(sites: Iterable[Site]) -> list[Site]:
    """Whole sites of the base run that `entered` needs for `sites`, themselves included."""
    needed: dict[Site, None] = {}
    for site in sites:
        needed[site.whole] = None
        needed[Site(SiteKind.RESIDUAL, site.layer)] = None
        if site.kind is not SiteKind.RESIDUAL:
            needed[Site(SiteKind.ATTENTION, site.layer)] = None
            needed[Site(SiteKind.MLP, site.layer)] = None
    return list(needed)


def entered(
    model: SubjectModel, base: Values, donor: Values, sites: Sequence[Site], touched: Bool[Tensor, "pair pos"]
) -> Rows:
    """The residual stream of rows at their point of entry, one row per site.

    Args:
        model: the subject model.
        base: the run that is patched, at `base_sites`.
        donor: replacement values at the whole sites.
        sites: sites of one whole site: all with an index, or the whole site alone.
        touched: which tokens are replaced.
    """
    whole = sites[0].whole
    residual = base[Site(SiteKind.RESIDUAL, whole.layer)]
    here = touched.to(residual.device).unsqueeze(-1)
    written = _written(model, base[whole], donor[whole], base.get(_write(whole)), sites, here)
    if whole.kind is SiteKind.RESIDUAL:
        return written
    other = SiteKind.MLP if _write(whole).kind is SiteKind.ATTENTION else SiteKind.ATTENTION
    if entry(whole, model)[1] is Entry.OUTPUT:
        return residual + base[Site(other, whole.layer)] + written
    return residual + written


def _write(site: Site) -> Site:
    """The write that a site is part of, or the site itself for the residual stream."""
    kinds = {SiteKind.HEAD: SiteKind.ATTENTION, SiteKind.HIDDEN: SiteKind.MLP}
    return Site(kinds.get(site.kind, site.kind), site.layer)


def _written(
    model: SubjectModel, base: Tensor, donor: Tensor, write: Tensor | None, sites: Sequence[Site], here: Tensor
) -> Rows:
    """The write, or the residual stream, after each replacement."""
    whole, indices = sites[0].whole, [site.index for site in sites if site.index is not None]
    if whole.kind in (SiteKind.HEAD, SiteKind.HIDDEN):
        return _projected(model, whole, base, donor, write, indices, here)
    if not indices:
        return torch.where(here, donor, base).unsqueeze(0)
    rows = base.repeat(len(indices), 1, 1, 1)
    mixed = torch.where(here, donor, base)[..., indices]
    rows.scatter_(-1, _index(indices, rows), mixed.permute(2, 0, 1).unsqueeze(-1))
    return rows


def _index(indices: Sequence[int], rows: Tensor) -> Tensor:
    """The coordinate replaced in each row, as a scatter index (row, pair, pos, 1)."""
    index = torch.tensor(indices, device=rows.device).view(-1, 1, 1, 1)
    return index.expand(-1, *rows.shape[1:3], 1)


def _projected(
    model: SubjectModel,
    whole: Site,
    base: Tensor,
    donor: Tensor,
    write: Tensor | None,
    indices: Sequence[int],
    here: Tensor,
) -> Rows:
    """The write after replacing heads or hidden units: linear up to the post-norm, so only the change is projected."""
    layer, attention = whole.layer, whole.kind is SiteKind.HEAD
    project = model.attention_output(layer) if attention else model.mlp_down(layer)
    after = after_attention if attention else after_mlp
    if not indices:
        mixed = torch.where(here.unsqueeze(-1) if attention else here, donor, base)
        return after(model, layer, project(mixed.flatten(2))).unsqueeze(0)
    normed = has_attention_norm(model, layer) if attention else has_mlp_norm(model, layer)
    change = (donor - base) * (here.unsqueeze(-1) if attention else here)
    if attention:
        moved = torch.einsum("pthd,hdm->hptm", change[:, :, indices], model.output_weight(layer)[indices])
    else:
        moved = torch.einsum("ptn,nm->nptm", change[..., indices], model.down_weight(layer)[indices])
    if normed or write is None:
        return after(model, layer, project(base.flatten(2)) + moved)
    return write + moved
