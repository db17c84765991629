"""The options of `bench evaluate` as one request: suite defaults, replaced by what was given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.api.errors import BadOption, quoted
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.exchange.score_files import content_hash
from arithloc.benchmark.runner.choices import apply_options, check_names, parse_options
from arithloc.benchmark.runner.job import Effort
from arithloc.benchmark.runner.suites import IMPORTED, get_suite


@dataclass(frozen=True)
class GridRequest:
    """A grid as asked for, before anything is imported.

    Attributes:
        suite: name of the suite that the defaults come from.
        is_suite: the grid is that of the suite, nothing added and nothing left out.
        methods: method references with their options.
        tasks: task references with their options.
        models: model references.
        granularities: what is scored.
        every_granularity: the granularities were given by name.
        ablations: what removed components are replaced with.
        seeds: seeds of the methods.
        effort: numbers of pairs, draws and sizes.
        dtype: floating-point type of the models.
        timeout: limit of one cell in seconds.
        force_incapable: score models that answer too few pairs.
        private_commitment: SHA-256 of the secret seed of the test pairs; empty for public ones.
    """

    suite: str
    is_suite: bool
    methods: tuple[Reference, ...]
    tasks: tuple[Reference, ...]
    models: tuple[str, ...]
    granularities: tuple[Granularity, ...]
    every_granularity: bool
    ablations: tuple[Ablation, ...]
    seeds: tuple[int, ...]
    effort: Effort
    dtype: str
    timeout: float
    force_incapable: bool
    private_commitment: str = ""


def grid_request(
    *,
    suite: str,
    methods: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    granularities: Sequence[Granularity] | None = None,
    ablations: Sequence[Ablation] | None = None,
    seeds: Sequence[int] | None = None,
    options: Sequence[str] = (),
    limit: int | None = None,
    dtype: str | None = None,
    timeout: float | None = None,
    force_incapable: bool = False,
    score_files: Sequence[Path] = (),
    private_commitment: str = "",
) -> GridRequest:
    """Reads the options of a grid; what is None comes from the suite. Score files take the place of its methods.

    Raises:
        UsageError: unknown suite, method, task or option name, or a text of the wrong form.
    """
    base = get_suite(suite)
    if score_files and not models:
        raise BadOption("Expected --model with --scores: the scores in a file are those of one model's components.")
    named = methods or (() if score_files else base.methods)
    method_references = [*map(Reference.parse, named), *map(_imported, score_files)]
    task_references = [Reference.parse(text) for text in tasks or base.tasks]
    check_names(method_references, task_references)
    method_references, task_references = apply_options(parse_options(options), method_references, task_references)
    for name in models or ():
        if not name.strip():
            raise BadOption(f"Expected a model name, folder, GGUF file or hub id, found {quoted(name)}.")
    effort = base.effort
    if limit is not None:
        effort = replace(effort, n_discovery=limit, n_evaluation=limit)
    return GridRequest(
        suite=base.name,
        is_suite=not any((methods, tasks, models, granularities, ablations, seeds, options, limit, score_files))
        and not private_commitment
        and dtype in (None, base.dtype),
        methods=tuple(dict.fromkeys(method_references)),
        tasks=tuple(dict.fromkeys(task_references)),
        models=tuple(dict.fromkeys(models or base.models)),
        granularities=tuple(granularities or (Granularity if score_files else base.granularities)),
        every_granularity=bool(granularities),
        ablations=tuple(ablations or base.ablations),
        seeds=tuple(seeds or base.seeds),
        effort=effort,
        dtype=dtype or base.dtype,
        timeout=timeout or base.timeout,
        force_incapable=force_incapable,
        private_commitment=private_commitment,
    )


def _imported(file: Path) -> Reference:
    """The method that measures a score file; the hash of its content keeps a later change from being run under its key."""
    place = file.expanduser().resolve()
    return Reference(IMPORTED, (("file", str(place)), ("sha256", content_hash(place))))
