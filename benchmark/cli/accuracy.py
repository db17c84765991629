"""`bench accuracy`: how often a model, or a circuit of it, gives the right answer, measured by lm-eval."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from arithloc.benchmark.api.errors import BadOption, MissingExtra
from arithloc.benchmark.api.vocabulary import Split
from arithloc.benchmark.cli.evaluate import HOW, WHAT, WHERE, Dtype
from arithloc.benchmark.storage import DEFAULT_DB


def accuracy(
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model: name, folder, GGUF file or Hugging Face id. Repeatable.", rich_help_panel=WHAT),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Task: name, name[field=value,...], path.py:Class or module:Class; all that are registered by default. "
            "Repeatable.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Pairs to draw of each task (200 by default).", rich_help_panel=WHAT)
    ] = None,
    split: Annotated[Split, typer.Option(help="Part of the task.", rich_help_panel=WHAT)] = Split.TEST,
    seed: Annotated[int, typer.Option(min=0, help="Sampling seed; cells use 0.", rich_help_panel=WHAT)] = 0,
    private: Annotated[
        bool,
        typer.Option(
            "--private",
            help="Draw with the secret seed of ARITHLOC_PRIVATE_SEED or --private-seed-file.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    private_seed_file: Annotated[
        Path | None,
        typer.Option(
            help="File of the secret seed: 64 hexadecimal digits, readable by its owner alone.", rich_help_panel=WHAT
        ),
    ] = None,
    circuit: Annotated[
        str,
        typer.Option(
            help="First digits of a cell's key: run its circuit, with everything else ablated as in the cell. Model, task "
            "and dtype are the cell's where they are not given.",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = "",
    components: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most components of the circuit; by default the smallest circuit that is shown to recover 90%.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Ablate the circuit and keep everything else.", rich_help_panel=WHAT)
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.", rich_help_panel=HOW)] = "auto",
    dtype: Annotated[
        Dtype | None, typer.Option(help="Floating-point type of the models (float32).", rich_help_panel=HOW)
    ] = None,
    stored: Annotated[
        bool, typer.Option("--stored", help="Measure nothing; show what is in the database.", rich_help_panel=HOW)
    ] = False,
    db: Annotated[
        str, typer.Option(envvar="ARITHLOC_DB", help="SQLite file or SQLAlchemy URL.", rich_help_panel=WHERE)
    ] = DEFAULT_DB,
    results: Annotated[
        Path | None,
        typer.Option(envvar="ARITHLOC_RESULTS", help="Folder of tensors and logs.", rich_help_panel=WHERE),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            help="Also write all stored accuracies of whole models to this Markdown file.", rich_help_panel=WHERE
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=WHERE)] = False,
) -> int:
    """Measure accuracy with lm-eval and store it: among the candidates, and among all tokens.

    'lm_eval --include_path "$(bench tasks lm-eval-path)" --tasks arithloc_addition' gives the same acc for a model.

    Exit code: 0 measured, 2 wrong usage or nothing that can be measured, 130 interrupted.
    """
    if not stored and importlib.util.find_spec("lm_eval") is None:
        raise MissingExtra.named("lm-eval", "bench accuracy")
    if (components is not None or remove) and not circuit:
        raise BadOption("Expected --circuit KEY with --components and --remove, found none. Name a cell: bench show.")
    if not (model or circuit or stored):
        raise BadOption("Expected --model, --circuit or --stored, found none of them. Example: --model smollm2.")
    if (private or private_seed_file is not None) and split is not Split.TEST:
        raise BadOption("Expected --split test for a private draw, which takes the place of the test part.")

    from arithloc.benchmark.cli.accuracy_run import Asked, run, show_stored

    asked = Asked(
        models=tuple(model or ()),
        tasks=tuple(task or ()),
        limit=limit,
        split=split,
        seed=seed,
        private=private or private_seed_file is not None,
        private_seed_file=private_seed_file,
        circuit=circuit,
        components=components,
        remove=remove,
        device=device,
        dtype=dtype.value if dtype else "",
        database=db,
        results=results,
        page=page,
        as_json=json,
    )
    return show_stored(asked) if stored else run(asked)
