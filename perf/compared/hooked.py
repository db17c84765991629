"""Libraries that run the whole model with functions on its activations: plain hooks, and TransformerLens."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from arithloc.benchmark.engine import Site, SiteKind
from arithloc.benchmark.engine.sites import hook
from arithloc.benchmark.models import SubjectModel

Edit = Callable[[Tensor], Tensor | None]
"""Changes an activation, (pair, pos, *width)."""


class Hooked(Protocol):
    """A library that runs token ids and calls functions on activations."""

    name: str

    def logits(self, ids: Tensor, edits: Mapping[Site, Edit]) -> Tensor:
        """Logits at the last token, (pair, vocab), with activations at whole sites changed."""
        ...


def cached(peer: Hooked, ids: Tensor, sites: Sequence[Site]) -> tuple[dict[Site, Tensor], Tensor]:
    """Activations at whole sites of a plain run, and its logits."""
    found: dict[Site, Tensor] = {}

    def keep(site: Site) -> Edit:
        def store(value: Tensor) -> None:
            found[site] = value.clone()

        return store

    return found, peer.logits(ids, {site: keep(site) for site in sites})


class Hooks:
    """PyTorch hooks on the Hugging Face model, logits of the last token alone."""

    name = "PyTorch hooks"

    def __init__(self, model: SubjectModel) -> None:
        self.model = model

    def logits(self, ids: Tensor, edits: Mapping[Site, Edit]) -> Tensor:
        """See `Hooked`."""
        return self._run(edits, input_ids=ids, use_cache=False)

    def _run(self, edits: Mapping[Site, Edit], **inputs: Any) -> Tensor:
        inputs["input_ids"] = inputs["input_ids"].to(self.model.device)
        with ExitStack() as stack:
            for site, edit in edits.items():
                stack.callback(hook(self.model, site, edit).remove)
            return self.model.module(**inputs, logits_to_keep=1).logits[:, -1]


class CachedHooks(Hooks):
    """Hooks on the last token alone, with the keys and values of the tokens before it kept from a first run.

    What an expert writes by hand. It answers questions about the last token only.
    """

    name = "PyTorch hooks, tokens before kept by hand"

    def __init__(self, model: SubjectModel) -> None:
        super().__init__(model)
        self._kept: tuple[Tensor, DynamicCache] | None = None

    def keep(self, ids: Tensor) -> None:
        """Runs all tokens but the last, once."""
        cache = DynamicCache()
        first = ids[:, :-1].to(self.model.device)
        self.model.module(input_ids=first, past_key_values=cache, use_cache=True, logits_to_keep=1)
        self._kept = (ids, cache)

    def logits(self, ids: Tensor, edits: Mapping[Site, Edit]) -> Tensor:
        """See `Hooked`."""
        if self._kept is None or self._kept[0] is not ids:
            return super().logits(ids, edits)
        cache = self._kept[1]
        logits = self._run(edits, input_ids=ids[:, -1:], past_key_values=cache, use_cache=True)
        cache.crop(-1)
        return logits


class Lens:
    """TransformerLens: `run_with_hooks`, as its own patching functions do, asked for the last token's logits alone."""

    name = "TransformerLens"

    def __init__(self, folder: Path, device: str = "cpu", dtype: str = "float32") -> None:
        from transformer_lens.model_bridge import TransformerBridge

        self.device = device
        self.bridge: Any = TransformerBridge.boot_transformers(str(folder), device=device, dtype=getattr(torch, dtype))

    def logits(self, ids: Tensor, edits: Mapping[Site, Edit]) -> Tensor:
        """See `Hooked`."""
        hooks = [(_LENS[site.kind].format(site.layer), _as_lens_hook(edit)) for site, edit in edits.items()]
        return self.bridge.run_with_hooks(ids.to(self.device), fwd_hooks=hooks, logits_to_keep=1)[:, -1]


_LENS = {
    SiteKind.RESIDUAL: "blocks.{}.hook_resid_pre",
    SiteKind.ATTENTION: "blocks.{}.hook_attn_out",
    SiteKind.MLP: "blocks.{}.hook_mlp_out",
    SiteKind.HEAD: "blocks.{}.attn.hook_z",
}


def _as_lens_hook(edit: Edit) -> Callable[[Tensor, Any], Tensor | None]:
    def call(value: Tensor, hook: Any) -> Tensor | None:
        return edit(value)

    return call


def ids_of(pairs: Sequence[Any], run: str) -> Tensor:
    """Token ids of one run, (pair, pos)."""
    return torch.tensor([pair.clean_ids if run == "clean" else pair.counterfactual_ids for pair in pairs])


def logit_diff(logits: Tensor, pairs: Sequence[Any]) -> Tensor:
    """Logit of the answer less that of the foil, (pair,), on the CPU and in float32."""
    row = torch.arange(len(pairs))
    answer = torch.tensor([pair.answer_token for pair in pairs])
    foil = torch.tensor([pair.foil_token for pair in pairs])
    return logits[row, answer].float().cpu() - logits[row, foil].float().cpu()
