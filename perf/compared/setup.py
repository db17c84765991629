"""Command line and models of the comparisons."""

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from arithloc.benchmark.api import ComponentSpace, Granularity, PromptPair
from arithloc.benchmark.engine import Readings
from arithloc.benchmark.models import SubjectModel, default_cache, load, wrap
from compared import measure
from compared.hooked import CachedHooks, Hooked, Hooks, Lens
from compared.measure import MIB, Cost, Rate
from compared.prompts import PROMPTS, prompts, shared
from compared.random_llama import SIZES, random_llama, random_prompts

LIBRARIES = {"transformer_lens": "TransformerLens", "pyvene": "pyvene", "nnsight": "nnsight"}
TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.5}
"""Logit differences of two libraries may differ by this much: in half types logits are rounded to about that."""
HEADER = ["prompts", "library", "s", "CPU s", "x time", "x CPU", "MiB", "largest difference"]


@dataclass
class Setup:
    """The model in every library, loaded when it is first used.

    Attributes:
        pairs: how many.
        threads: of torch.
        sites: sites that a library which runs the whole model for each is asked about; 0 for all.
        repeats: rounds, of which the best counts.
        model_name: registered name or folder.
        names: prompts to use instead of the comparison's own.
        device: where the model is.
        dtype: of its weights.
        random: size of a random model to use instead, with random prompts; libraries that load from a folder are left
            out.
    """

    pairs: int
    threads: int
    sites: int
    repeats: int
    model_name: str
    names: list[str]
    device: str
    dtype: str
    random: str | None

    @cached_property
    def model(self) -> SubjectModel:
        """The model in arithloc, which plain hooks run too."""
        return self.cut(None)

    def cut(self, layers: int | None) -> SubjectModel:
        """A new copy of the model, with its first `layers` blocks only where given."""
        if self.random is not None:
            return random_llama(self.random, device=self.device, dtype=self.dtype, layers=layers)
        whole = load(self.model_name, device=self.device, dtype=self.dtype)
        if layers is None:
            return whole
        module = AutoModelForCausalLM.from_pretrained(
            default_cache() / "models" / whole.name, num_hidden_layers=layers, dtype=whole.dtype
        )
        return wrap(f"{whole.name}-{layers}", module.to(self.device), whole.tokenizer, whole.identity)

    @cached_property
    def copy(self) -> nn.Module:
        """A copy of the stock model for libraries that change what they are given."""
        return copy.deepcopy(self.model.module)

    @cached_property
    def lens(self) -> Lens | None:
        """TransformerLens with its own copy of the weights, if it is installed."""
        if not self.has("transformer_lens"):
            return None
        lens = Lens(default_cache() / "models" / self.model_name, self.device, self.dtype)
        with torch.inference_mode():
            lens.logits(torch.zeros(1, 2, dtype=torch.long), {})  # reads the weights from the disk
        return lens

    def has(self, library: str) -> bool:
        """Whether a library is installed and can have the model."""
        return self.random is None and find_spec(library) is not None

    def hooked(self, *, last: bool = False) -> list[Hooked]:
        """The libraries that run functions on activations; keys kept by hand only help at the last token."""
        found: list[Hooked] = [Hooks(self.model)]
        if self.lens is not None:
            found.insert(0, self.lens)
        return [*found, CachedHooks(self.model)] if last else found

    def space(self, granularity: Granularity) -> ComponentSpace:
        """Components of the model."""
        return ComponentSpace(granularity, self.model.shape)

    def prompts(self, name: str) -> list[PromptPair]:
        """The pairs of a kind of prompt."""
        if self.random is not None:
            return random_prompts(name, self.model.shape.vocab, self.pairs)
        return prompts(name, self.model.tokenizer, self.pairs)

    def matmul_rate(self) -> Rate:
        """What a matrix product reaches on the model's device, in its type."""
        return measure.matmul_rate(self.device, self.dtype)

    def described(self) -> str:
        """Where and with what a table is measured."""
        missing = [name for library, name in LIBRARIES.items() if not self.has(library)]
        note = f"; left out: {', '.join(missing)}" if missing else ""
        return (
            f"{measure.machine(self.threads, self.device, self.dtype)}. {self.model.name}, "
            f"{self.pairs} pairs; best of {self.repeats} rounds; "
            f"other libraries on {self.sites or 'all'} sites, scaled to all{note}."
        )


def label(name: str, pairs: list[PromptPair]) -> str:
    """A kind of prompt with its length and how many first tokens all prompts share."""
    return f"{name}, {pairs[0].n_tokens} tokens, {shared(pairs)} shared"


def rows_of(
    setup: Setup, prompt: str, found: Mapping[str, tuple[Any, Cost]], chosen: Sequence[int] | None = None
) -> list[list[str]]:
    """One line for each library, ratios to the first, which is arithloc.

    Args:
        setup: what is measured.
        prompt: label of the prompts.
        found: effects and costs. Effects of arithloc are `Readings`, those of others arrays of logit differences.
        chosen: rows of arithloc's readings that the others were asked about; None for all.

    Raises:
        SystemExit: the effects do not agree.
    """
    readings, ours = next(iter(found.values()))
    effects, tolerance = readings.metric("logit_diff"), TOLERANCE[setup.dtype]
    rows = []
    for library, (values, cost) in found.items():
        if isinstance(values, Readings):
            difference = np.abs(values.metric("logit_diff") - effects).max()
        else:
            difference = np.abs(values - (effects if chosen is None else effects[chosen])).max()
        if not difference < tolerance:
            raise SystemExit(f"{library} on {prompt}: logit differences differ by {difference:.2g}, above {tolerance}.")
        figures = (cost.seconds, cost.cpu, cost.seconds / ours.seconds, cost.cpu / ours.cpu)
        rows.append(
            [prompt, library, *(f"{figure:.1f}" for figure in figures), f"{cost.peak / MIB:.0f}", f"{difference:.0e}"]
        )
    return rows


SHARES = ["prompts", "library", "sites/s", "useful GFLOP", "GFLOP/s", "share", "GFLOP per CPU s", "share per CPU s"]


def share(name: str, library: str, sites: int, useful: int, cost: Cost, rate: Rate) -> list[str]:
    """Sites (of all pairs) per second, useful operations, their rates, and these rates' shares of a matrix product's."""
    clock, cpu = useful / cost.seconds, useful / cost.cpu
    return [
        name,
        library,
        f"{sites / cost.seconds:.1f}",
        f"{useful / 1e9:.1f}",
        f"{clock / 1e9:.1f}",
        f"{clock / rate.clock:.2f}",
        f"{cpu / 1e9:.1f}",
        f"{cpu / rate.cpu:.2f}",
    ]


def options(doc: str | None) -> argparse.ArgumentParser:
    """The options that all comparisons share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sites", type=int, default=6, help="sites measured in other libraries; 0: all")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--model", default="smollm2", help="a packaged model that is built (bench models build)")
    parser.add_argument("--random-llama", choices=SIZES, help="random weights of this size and random prompts instead")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--dtype", default="float32", choices=list(TOLERANCE), help="of the weights")
    parser.add_argument("--prompts", nargs="*", choices=list(PROMPTS), default=[], help="default: the comparison's own")
    return parser


def setup_of(given: argparse.Namespace) -> Setup:
    """What the options ask for; quiet, with the number of threads set."""
    torch.set_num_threads(given.threads)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return Setup(
        given.pairs,
        given.threads,
        given.sites,
        given.repeats,
        given.model,
        given.prompts,
        given.device,
        given.dtype,
        given.random_llama,
    )


def main(doc: str | None, report: Callable[[Setup], str]) -> None:
    """Runs one comparison from the command line and prints its table."""
    setup = setup_of(options(doc).parse_args())
    print(f"{setup.described()}\n\n{report(setup)}")
