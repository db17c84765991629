"""`bench tasks`: look at prompt pairs, write them to files, publish the commitment of a private split."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from arithloc.benchmark.api.errors import BadOption, PlanError, PrerequisiteError, TaskError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.vocabulary import Split
from arithloc.benchmark.cli.evaluate import Dtype

app = typer.Typer(help="Look at tasks and take their prompt pairs elsewhere.", no_args_is_help=True)

TASK = typer.Argument(help="Task: name, name[field=value,...], path.py:Class or module:Class.")
TOKENIZER_HELP = "Whose tokenizer: model name, folder, GGUF file, Hugging Face id, or a folder with a tokenizer alone."
Source = Annotated[str, typer.Option("--model", "--tokenizer", help=TOKENIZER_HELP, show_default=False)]
Part = Annotated[Split, typer.Option(help="Part of the task.")]
Seed = Annotated[int, typer.Option(min=0, help="Sampling seed; cells use 0.")]
Private = Annotated[
    bool,
    typer.Option("--private", help="Draw with the secret seed of ARITHLOC_PRIVATE_SEED or --private-seed-file."),
]
SeedFile = Annotated[
    Path | None, typer.Option(help="File of the secret seed: 64 hexadecimal digits, readable by its owner alone.")
]


@app.command("show")
def show(
    task: Annotated[str, TASK],
    model: Annotated[
        str, typer.Option(help="Model: its tokenizer makes the pairs, and it answers them.", show_default=False)
    ] = "",
    tokenizer: Annotated[
        str, typer.Option(help="Only a tokenizer, instead of a model: nothing is answered.", show_default=False)
    ] = "",
    n: Annotated[int, typer.Option("-n", "--n", min=0, help="Pairs to print token by token.")] = 2,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs to draw for the counts.")] = 200,
    split: Part = Split.TEST,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    dtype: Annotated[Dtype, typer.Option(help="Floating-point type of the model.")] = Dtype.FLOAT32,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Show pairs of a task with tokens, positions and classes, and what was drawn and rejected."""
    from arithloc.benchmark.cli.tasks_show import Answers, document, print_draw
    from arithloc.benchmark.models import load_tokenizer
    from arithloc.benchmark.taskdata.drawing import draw

    if bool(model) == bool(tokenizer):
        raise BadOption("Expected either --model or --tokenizer, found both or neither. Example: --model smollm2.")
    reference = _known(task)
    loaded, _hash = load_tokenizer(model or tokenizer)
    drawn = _drawn(lambda: draw(reference, loaded, split, pairs, seed))
    answers = Answers.of(model, drawn, device, dtype.value) if model else None
    out = Console(highlight=False)
    if json:
        out.print_json(data=document(drawn, loaded, n, answers))
    else:
        print_draw(drawn, loaded, n, answers, model or tokenizer, out)
    return 0


@app.command("export")
def export(
    task: Annotated[str, TASK],
    target: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    model: Source,
    split: Part = Split.TEST,
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Pairs to draw.")] = 512,
    seed: Seed = 0,
    private: Private = False,
    private_seed_file: SeedFile = None,
) -> int:
    """Write pairs as Parquet: one row per pair, as 'datasets' reads it; where they come from is in its metadata."""
    from arithloc.benchmark.models import load_tokenizer
    from arithloc.benchmark.taskdata.drawing import draw, draw_private
    from arithloc.benchmark.taskdata.hub import datasets_library, write_parquet

    datasets_library()
    reference = _known(task)
    notes = Console(stderr=True, highlight=False)
    loaded, tokenizer_hash = load_tokenizer(model)
    if private or private_seed_file is not None:
        if split is not Split.TEST:
            raise BadOption("Expected --split test for a private draw, which takes the place of the test part.")
        secret = secret_seed(private_seed_file, notes)
        drawn = _drawn(lambda: draw_private(reference, loaded, tokenizer_hash, n, secret))
    else:
        drawn = _drawn(lambda: draw(reference, loaded, split, n, seed))
    digest = write_parquet(drawn.pairs, target, drawn.about(model, tokenizer_hash))
    note = f" ({len(drawn.pairs)} is all there is)" if len(drawn.pairs) < n else ""
    notes.print(
        f"Written: {target}: {len(drawn.pairs)} pairs{note}, {drawn.n_clusters} clusters, hash {digest}",
        markup=False,
        soft_wrap=True,
    )
    if drawn.privacy is not None:
        notes.print(privacy_note(drawn.privacy), markup=False, soft_wrap=True)
    return 0


@app.command("commit")
def commit(
    private_seed_file: SeedFile = None,
    new: Annotated[
        Path | None, typer.Option(help="Draw a seed and write it to this new file instead of reading one.")
    ] = None,
    season: Annotated[str, typer.Option(help="Also commit to how the seed is used: name of the season.")] = "",
    suite: Annotated[str, typer.Option(help="Suite of the season.")] = "quick",
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Private pairs of each task of the season.")] = 512,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Print the SHA-256 of the secret seed of a private split, to be published before it is used."""
    from arithloc.benchmark.runner.private import new_private_seed
    from arithloc.benchmark.runner.suites import get_suite

    if new is not None and private_seed_file is not None:
        raise BadOption("Expected either --new or --private-seed-file, found both.")
    version = get_suite(suite).version
    notes = Console(stderr=True, highlight=False)
    secret = new_private_seed(new) if new is not None else secret_seed(private_seed_file, notes)
    document: dict[str, Any] = {"schema": 1, "seed_sha256": secret.commitment}
    if season:
        document["season_sha256"] = secret.season_commitment(season, suite, version, n)
        document["season"] = {"season": season, "suite": suite, "suite_version": version, "n_pairs": n}
    out = Console(highlight=False)
    if json:
        out.print_json(data=document)
        return 0
    if new is not None:
        notes.print(f"Written: {new}. Keep it out of every repository, and publish:", markup=False, soft_wrap=True)
    out.print(secret.commitment)
    if season:
        out.print(document["season_sha256"])
    return 0


@app.command("lm-eval-path")
def lm_eval_path() -> int:
    """Print the folder of our lm-eval tasks: lm_eval --include_path "$(bench tasks lm-eval-path)" ..."""
    Console(highlight=False).print(str(lm_eval_folder()), markup=False, soft_wrap=True)
    return 0


def lm_eval_folder() -> Path:
    """Folder of the lm-eval task files.

    Raises:
        PrerequisiteError: they are not part of this installation.
    """
    import importlib.util

    package = importlib.util.find_spec("arithloc.tasks")
    for place in (package.submodule_search_locations or []) if package else []:
        if (Path(place) / "lm_eval").is_dir():
            return Path(place) / "lm_eval"
    raise PrerequisiteError("The lm-eval task files are not part of this installation. Install arithloc again.")


def secret_seed(file: Path | None, notes: Console) -> Any:
    """The secret seed; warnings about its file are printed."""
    from arithloc.benchmark.runner.private import read_private_seed

    secret, warnings = read_private_seed(file)
    for warning in warnings:
        notes.print(f"warning: {warning}", markup=False, soft_wrap=True)
    return secret


def privacy_note(privacy: Any) -> str:
    """One line on how a private draw relates to the public splits."""
    if privacy.public_share:
        return (
            f"Private, seed {privacy.commitment[:12]}...: {privacy.public_share:.1%} of the pairs have operands of a public "
            "split, because the task has too few to leave those out."
        )
    return (
        f"Private, seed {privacy.commitment[:12]}...: no operands of a public split "
        f"({privacy.removed} pairs with such operands left out)."
    )


def _drawn(call: Callable[[], Any]) -> Any:
    """What a draw gives; a task that has no pairs for this tokenizer makes the command a wrong one."""
    try:
        return call()
    except TaskError as error:
        raise PlanError(str(error)) from error


def _known(task: str) -> Reference:
    from arithloc.benchmark.runner.choices import check_names

    reference = Reference.parse(task)
    check_names([], [reference])
    return reference
