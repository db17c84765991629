"""pyvene and nnsight, asked for the sweep of the last token.

Both get a copy of the stock model: pyvene freezes the parameters of the one that it is given, and that changes which
kernels torch chooses for everybody else.
"""

from collections.abc import Sequence
from typing import Any

import torch
from numpy import ndarray
from torch import Tensor, nn

from arithloc.benchmark.api import PromptPair
from arithloc.benchmark.engine import Site, SiteKind
from arithloc.benchmark.models import SubjectModel
from compared.hooked import Hooks, cached, ids_of, logit_diff
from compared.measure import Cost, measured

_COMPONENT = {SiteKind.ATTENTION: "attention_output", SiteKind.MLP: "mlp_output"}


def pyvene_sweep(
    model: SubjectModel, module: nn.Module, pairs: Sequence[PromptPair], sites: Sequence[Site], chosen: Sequence[int]
) -> tuple[ndarray, Cost]:
    """As `questions.sweep` at the last token; the donor's values are given, so that a site costs one forward."""
    import pyvene

    ids, last = ids_of(pairs, "counterfactual").to(model.device), len(pairs[0].clean_ids) - 1

    def patched(site: Site) -> Tensor:
        settings = pyvene.RepresentationConfig(site.layer, _COMPONENT[site.kind], "pos", 1)
        config = pyvene.IntervenableConfig([settings], pyvene.VanillaIntervention)
        runner = pyvene.IntervenableModel(config, module)
        (key,) = runner.sorted_keys
        _, output = runner(
            {"input_ids": ids, "logits_to_keep": 1},
            unit_locations={"sources->base": (None, [[[last]] * len(pairs)])},
            source_representations={key: donor[site][:, -1:]},
        )
        return logit_diff(output.logits[:, -1], pairs)

    with torch.inference_mode():
        donor, before = measured(lambda: cached(Hooks(model), ids_of(pairs, "clean"), sites)[0])
        values, cost = measured(lambda: torch.stack([patched(sites[i]) for i in chosen]).numpy())
    return values, before + cost.scaled(len(sites) / len(chosen))


def nnsight_sweep(
    model: SubjectModel, module: nn.Module, pairs: Sequence[PromptPair], sites: Sequence[Site], chosen: Sequence[int]
) -> tuple[ndarray, Cost]:
    """As `questions.sweep` at the last token, one trace per site."""
    from nnsight import NNsight

    ids, traced = ids_of(pairs, "counterfactual").to(model.device), NNsight(module)

    def patched(site: Site) -> Tensor:
        value: Any = donor[site][:, -1]
        block = traced.model.layers[site.layer]
        with traced.trace(ids, logits_to_keep=1):
            if site.kind is SiteKind.ATTENTION:
                block.self_attn.output[0][:, -1] = value
            else:
                block.mlp.output[:, -1] = value
            logits = traced.output.logits[:, -1].save()
        return logit_diff(logits, pairs)

    with torch.inference_mode():
        donor, before = measured(lambda: cached(Hooks(model), ids_of(pairs, "clean"), sites)[0])
        values, cost = measured(lambda: torch.stack([patched(sites[i]) for i in chosen]).numpy())
    return values, before + cost.scaled(len(sites) / len(chosen))
