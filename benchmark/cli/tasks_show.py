"""What `bench tasks show` prints: pairs token by token, counts of strata, share of answered pairs, rejections."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from arithloc.benchmark.api import SHOT, PromptPair
from arithloc.benchmark.api.errors import ModelError
from arithloc.benchmark.api.study import MIN_CORRECT
from arithloc.benchmark.cli.table import plain_table
from arithloc.benchmark.taskdata.drawing import Draw
from arithloc.benchmark.taskdata.rows import row_of

SHOW_SCHEMA = 1
"""Number of the layout of the JSON document."""
_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_red", "bright_cyan", "bright_magenta")
_PLAIN = {"bos", "early", "late", "middle", SHOT}
_MOST_VALUES = 6
"""Values of a tag that are listed; the rest is counted."""


@dataclass(frozen=True)
class Answers:
    """How a model answers the clean prompts.

    Attributes:
        candidates: share in which the answer's token leads among the candidates; cells keep these pairs.
        anything: share in which it leads the whole vocabulary.
        problem: why the model did not answer; the shares are None then.
    """

    candidates: float | None
    anything: float | None
    problem: str = ""

    @classmethod
    def of(cls, model: str, drawn: Draw, device: str, dtype: str) -> "Answers":
        """Lets a model answer; one that cannot be studied is a note, because its tokenizer is enough for the rest."""
        from arithloc.benchmark import engine
        from arithloc.benchmark.cli.accuracy_run import loaded

        try:
            subject = loaded(model, device, dtype)
        except ModelError as error:
            return cls(None, None, str(error))
        readings = engine.read(subject, drawn.pairs)
        candidates, anything = (float(readings.metric(name).mean()) for name in ("accuracy_candidates", "accuracy"))
        return cls(candidates, anything)


def document(drawn: Draw, tokenizer: Any, n: int, answers: Answers | None) -> dict[str, Any]:
    """Everything that is shown, as JSON values."""
    return {
        "schema": SHOW_SCHEMA,
        "task": drawn.task.name,
        "options": drawn.task.options,
        "split": drawn.split.value,
        "seed": drawn.seed,
        "requested": drawn.requested,
        "n_pairs": len(drawn.pairs),
        "n_clusters": drawn.n_clusters,
        "data_hash": drawn.data_hash,
        "strata": {tag: dict(counts) for tag, counts in strata(drawn.pairs).items()},
        "rejected": dict(drawn.rejected),
        "answered": None if answers is None else vars(answers),
        "pairs": [{**row_of(pair), "tokens": _tokens(pair, tokenizer)} for pair in drawn.pairs[:n]],
    }


def strata(pairs: Sequence[PromptPair]) -> dict[str, Counter[str]]:
    """How often each value of each tag occurs, tags and values in order."""
    found: dict[str, Counter[str]] = {}
    for pair in pairs:
        for tag, value in pair.strata:
            found.setdefault(tag, Counter())[value] += 1
    return {tag: Counter(dict(sorted(found[tag].items()))) for tag in sorted(found)}


def print_draw(drawn: Draw, tokenizer: Any, n: int, answers: Answers | None, model: str, out: Console) -> None:
    """Prints a draw; every line says in words what its colours say."""
    of_all = "" if len(drawn.pairs) == drawn.requested else f" of {drawn.requested} asked for: there are no more"
    out.print(
        f"[bold]{escape(str(drawn.reference))}[/bold] for the tokenizer of {escape(model)}: {len(drawn.pairs)} "
        f"{drawn.split.value} pairs{of_all}, {drawn.n_clusters} clusters"
    )
    out.print(f"hash: {drawn.data_hash}", markup=False, soft_wrap=True)
    _print_answers(answers, drawn, out)
    _print_rejected(drawn, out)
    out.print()
    _print_strata(drawn.pairs, out)
    for pair in drawn.pairs[:n]:
        out.print()
        _print_pair(pair, tokenizer, out)


def _print_answers(answers: Answers | None, drawn: Draw, out: Console) -> None:
    if answers is None:
        return
    if answers.candidates is None or answers.anything is None:
        out.print(f"answered: not measured: {answers.problem}", markup=False)
        return
    kept = "kept in cells" if drawn.correct_only else "cells of this task keep all pairs"
    verdict = "fit" if answers.candidates >= MIN_CORRECT else "not fit"
    out.print(
        f"answered: {answers.candidates:.1%} among the candidates ({kept}; {verdict} for localization, which asks for "
        f"{MIN_CORRECT:.0%}), {answers.anything:.1%} among all tokens",
        markup=False,
    )


def _print_rejected(drawn: Draw, out: Console) -> None:
    if not drawn.rejected:
        return
    listed = "; ".join(
        f"{rule} {count}x" + (f" ({drawn.reasons[rule]})" if rule in drawn.reasons else "")
        for rule, count in sorted(drawn.rejected.items())
    )
    out.print(f"rejected candidates: {listed}", markup=False)


def _print_strata(pairs: Sequence[PromptPair], out: Console) -> None:
    table = plain_table({"tag": "left", "pairs by value": "left"}, fold=("pairs by value",))
    for tag, counts in strata(pairs).items():
        common = counts.most_common(_MOST_VALUES)
        parts = [f"{value or 'none'}: {count}" for value, count in common]
        if len(counts) > len(common):
            parts.append(f"{len(counts) - len(common)} others: {len(pairs) - sum(c for _, c in common)}")
        table.add_row(escape(tag), escape(", ".join(parts)))
    out.print(table)


def _print_pair(pair: PromptPair, tokenizer: Any, out: Console) -> None:
    answer, foil = (_shown(tokenizer, token) for token in (pair.answer_token, pair.foil_token))
    against = "foil" if pair.answer_cf_is_foil else "counterfactual"
    out.print(
        f"[bold]pair {pair.index}[/bold] {escape(pair.kind)}, cluster {escape(pair.cluster)}: answer "
        f"{escape(pair.answer)} against {against} {escape(pair.answer_cf)}, scored {escape(answer)} against {escape(foil)}"
    )
    table = plain_table({"": "right", "clean": "left", "counterfactual": "left", "class": "left"})
    colours = _colours(pair.classes)
    shots = pair.classes.count(SHOT)
    for row in _tokens(pair, tokenizer):
        if row["class"] != SHOT:
            _add_token(table, row, colours[row["class"]])
    if shots:
        out.print(f"{shots} tokens in front that no intervention touches ({SHOT})")
    out.print(table)
    out.print("* differs", style="dim")


def _add_token(table: Table, row: dict[str, Any], colour: str) -> None:
    clean, other, name = (escape(row[part]) for part in ("clean", "counterfactual", "class"))
    name += f" ({row['subclass']})" if row["subclass"] else ""
    if row["edited"]:
        clean, other = f"[bold]{clean}[/bold]", f"[bold]{other} *[/bold]"
    style = f"[{colour}]", f"[/{colour}]"
    cells = (clean, other, name)
    table.add_row(str(row["position"]), *(f"{style[0]}{cell}{style[1]}" for cell in cells) if colour else cells)


def _tokens(pair: PromptPair, tokenizer: Any) -> list[dict[str, Any]]:
    """One row per position, with the text of both tokens."""
    return [
        {
            "position": position,
            "clean": _shown(tokenizer, clean),
            "counterfactual": _shown(tokenizer, other),
            "class": cls,
            "subclass": subclass,
            "edited": clean != other,
        }
        for position, (clean, other, cls, subclass) in enumerate(
            zip(pair.clean_ids, pair.counterfactual_ids, pair.classes, pair.subclasses, strict=True)
        )
    ]


def _shown(tokenizer: Any, token: int) -> str:
    """A token in quotes, white space visible as escapes."""
    return repr(tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))


def _colours(classes: Sequence[str]) -> dict[str, str]:
    """A colour for each class in order of appearance; surroundings have none."""
    named = [cls for cls in dict.fromkeys(classes) if cls not in _PLAIN]
    return {cls: "" for cls in classes} | {cls: _COLOURS[i % len(_COLOURS)] for i, cls in enumerate(named)}
