"""The commands of `bench` and their help; each command's work is in its own file."""

from collections.abc import Sequence

import typer
import typer.main

from arithloc.benchmark.cli import (
    accuracy,
    analyze,
    audit,
    audit_circuit,
    board,
    compare,
    doctor,
    evaluate,
    export,
    listing,
    merge,
    models,
    show,
    tasks,
    toy,
    validity,
)

app = typer.Typer(
    name="bench",
    help="Benchmark of mechanistic localization of arithmetic in language models. Start with: bench evaluate",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("evaluate")(evaluate.evaluate)
app.command("list")(listing.list_registered)
app.command("show")(show.show)
app.command("compare")(compare.compare_entries)
app.command("audit")(audit.audit)
app.command("audit-circuit")(audit_circuit.audit_circuit)
app.command("accuracy")(accuracy.accuracy)
app.command("analyze")(analyze.analyze)
app.command("validity")(validity.validity)
app.command("leaderboard")(board.leaderboard)
app.command("export")(export.export)
app.command("merge")(merge.merge)
app.command("doctor")(doctor.doctor)
app.add_typer(models.app, name="models")
app.add_typer(tasks.app, name="tasks")
app.add_typer(toy.app, name="toy")


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks. May stand anywhere on the line."),
) -> None:
    """Declares the option for the help text; the guard takes it off the line before the commands see it."""


def command(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    code = typer.main.get_command(app).main(list(arguments), prog_name="bench", standalone_mode=False)
    return code if isinstance(code, int) else 0
