"""Accuracies as a table in the terminal, as a JSON document and as a page of docs/results."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from arithloc.benchmark.api import Gate
from arithloc.benchmark.api.errors import UsageError
from arithloc.benchmark.api.options import recorded
from arithloc.benchmark.api.registry import tasks
from arithloc.benchmark.api.study import MIN_CORRECT
from arithloc.benchmark.cli.table import KEY_DIGITS, plain_table
from arithloc.benchmark.runner.choices import option_text
from arithloc.benchmark.storage.accuracy import AccuracyRecord, Part, StoredAccuracy

BEGIN, END = "<!-- accuracy:begin -->", "<!-- accuracy:end -->"
"""What stands around the table in a page with more text."""
ACCURACY_SCHEMA = 1
"""Number of the layout of the JSON document."""


def line(record: AccuracyRecord, task: str) -> str:
    """One measurement in one line."""
    part = f", circuit {record.circuit.part.value}" if record.circuit else ""
    return (
        f"{task} on {record.model.name}{part}: {record.acc.value:.1%} among the candidates, "
        f"{record.top.value:.1%} among all tokens, {record.data.n_pairs} pairs"
    )


def stored_document(rows: Sequence[StoredAccuracy], database: str) -> dict[str, Any]:
    """Measurements as JSON values; `fit` says whether the model answers enough for localization."""
    listed = [{**asdict(row), "task_options": json.loads(row.task_options), "fit": is_fit(row)} for row in rows]
    return {"schema": ACCURACY_SCHEMA, "database": database, "accuracies": listed}


def is_fit(row: StoredAccuracy) -> bool:
    """Whether so many of the prompts are answered as the task asks of a model before its circuit is measured."""
    try:
        gate: Gate = tasks.get(row.task).target.info.gate
    except UsageError:  # the distribution of the task is not installed here
        gate = Gate()
    measured = row.top if gate.vocabulary else row.acc
    return measured >= gate.share


def print_accuracies(rows: Sequence[StoredAccuracy], out: Console) -> None:
    """Prints one line for each measurement."""
    table = plain_table(
        {
            "model": "left",
            "task": "left",
            "candidates": "right",
            "all tokens": "right",
            "pairs": "right",
            "fit": "left",
        },
        fold=("model", "task"),
    )
    for row in rows:
        table.add_row(
            escape(row.model + _part(row)),
            escape(task_text(row)),
            _percent(row.acc, row.acc_low, row.acc_high),
            _percent(row.top, row.top_low, row.top_high),
            str(row.n_pairs),
            "yes" if is_fit(row) else "no",
        )
    out.print(table)
    out.print()
    for row in rows:
        for note in _notes(row):
            out.print(f"{task_text(row)} on {row.model}: {note}", markup=False, soft_wrap=True)


def markdown(rows: Sequence[StoredAccuracy]) -> str:
    """All measurements of whole models on public pairs."""
    whole = [row for row in rows if row.part == Part.WHOLE.value and not row.private_commitment]
    versions = ", ".join(sorted({row.lm_eval_version for row in whole})) or "none"
    head = [
        f'Measured by `bench accuracy` with lm-eval {versions}; `lm_eval --include_path "$(bench tasks lm-eval-path)"` gives',
        "the same `acc` and `exact_match`.",
        "",
        "- *Candidates*: the answer's token has the largest logit among the tokens that any answer can begin with (`acc`).",
        "- *All tokens*: it has the largest logit of all tokens at the scored position.",
        "- *Greedy*: greedy decoding writes it, with the white space that lm-eval moves from the end of the prompt to the",
        "  continuation (`exact_match`): less than *all tokens* where that white space is a token of its own.",
        "- In brackets the 95 % Wilson interval, with one trial for each cluster (operand pair, entity).",
        f"- *Fit* for localization: {MIN_CORRECT:.0%} among the candidates, which `bench evaluate` asks of a model; tasks may ask",
        "  for more, as `ontology-cot` does (docs/tasks.md).",
        "",
        "| model | task | candidates | all tokens | greedy | pairs | clusters | dtype | fit |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    body = [
        "| "
        + " | ".join(
            (
                f"`{row.model}`",
                f"`{task_text(row)}`",
                _percent(row.acc, row.acc_low, row.acc_high),
                _percent(row.top, row.top_low, row.top_high),
                _percent(row.exact_match, row.exact_match_low, row.exact_match_high),
                str(row.n_pairs) + (f" ({row.n_left_out} left out)" if row.n_left_out else ""),
                str(row.n_clusters),
                row.dtype,
                "yes" if is_fit(row) else "no",
            )
        )
        + " |"
        for row in whole
    ]
    return "\n".join([*head, *body]) + "\n"


def into(page: str, measured: str) -> str:
    """A page with what lies between its markers replaced; a new page where it has none."""
    if BEGIN not in page or END not in page:
        return f"# Accuracy of the models on every task\n\n{measured}"
    return f"{page.partition(BEGIN)[0]}{BEGIN}\n\n{measured}\n{END}{page.partition(END)[2]}"


def task_text(row: StoredAccuracy) -> str:
    """A task with those of its options that are not the default ones."""
    options = json.loads(row.task_options)
    try:
        usual = recorded(tasks.get(row.task).target())
    except UsageError:  # the distribution of the task is not installed here
        usual = {}
    return row.task + option_text({name: value for name, value in options.items() if usual.get(name) != value})


def _part(row: StoredAccuracy) -> str:
    if row.circuit_key is None:
        return ""
    verb = "kept" if row.part == Part.KEPT.value else "removed"
    return f", {row.n_components} components of {row.circuit_key[:KEY_DIGITS]} {verb}"


def _notes(row: StoredAccuracy) -> list[str]:
    notes = []
    if row.n_left_out:
        notes.append(f"{row.n_left_out} pairs left out because this tokenizer cannot write them as text for lm-eval")
    if row.private_commitment:
        shared = f", {row.public_share:.1%} with operands of a public split" if row.public_share else ""
        notes.append(f"private pairs of seed {row.private_commitment[:12]}...{shared}")
    return notes


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f}% [{100 * low:.0f}, {100 * high:.0f}]"
