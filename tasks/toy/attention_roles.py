"""The attention roles of the compiled circuits.

Every head also scores beta / 2 on `<bos>`: without a match it reads `<bos>`, whose value features are 0, and writes
nothing. A forbidden key scores -beta (n + 5), below every other.
"""

from collections.abc import Iterable

from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.roles import BIAS, Channel, HeadRole, asks, seen

Scores = dict[tuple[str, str], float]


def copies(*names: str, to: Iterable[str], weight: float = 1.0) -> tuple[Channel, ...]:
    """One channel per feature of `names`, written to the feature of `to` at the same place."""
    return tuple(Channel({a: 1.0}, {b: weight}) for a, b in zip(names, to, strict=True))


def carry_queries(recipe: Recipe) -> dict[str, int]:
    """Query features that ask for the carry into a column: every `Q_i`, and `eq` as the column above the highest."""
    queries = {asks(i): i for i in range(recipe.n_digits + 1)}
    return {**queries, "EQP": recipe.n_digits} if recipe.subtracts else queries


def digit_classes(recipe: Recipe) -> tuple[str, ...]:
    """Positions that predict answer digits below the highest."""
    return tuple(recipe.format.predictor(i) for i in range(recipe.n_digits))


def carry_classes(recipe: Recipe) -> tuple[str, ...]:
    """Positions that need a carry: `eq` with subtraction, and the predictors of all digits but the units."""
    sign = ("eq",) if recipe.subtracts else ()
    return (*sign, *(recipe.format.predictor(i) for i in range(1, recipe.n_digits + 1)))


def answer_classes(recipe: Recipe) -> tuple[str, ...]:
    """Positions that predict a digit."""
    return (*digit_classes(recipe), recipe.format.predictor(recipe.n_digits))


def operand_classes(recipe: Recipe) -> tuple[str, ...]:
    """Positions of the second operand, where the columns are worked out."""
    return tuple(f"y{j}" for j in range(recipe.n_digits))


def head(
    recipe: Recipe,
    name: str,
    scores: Scores,
    channels: tuple[Channel, ...],
    classes: tuple[str, ...],
    label: str = "in",
    group: str | None = None,
    quorum: int | None = None,
) -> HeadRole:
    """A head with the fallback on `<bos>`."""
    return HeadRole(name, {(BIAS, "BOSP"): recipe.beta / 2, **scores}, channels, classes, label, group, quorum)


def forbidden(recipe: Recipe) -> float:
    """Score of a key that must not be read."""
    return -recipe.beta * (recipe.n_digits + 5)


def fetch(recipe: Recipe, channels: tuple[Channel, ...]) -> HeadRole:
    """Brings the digit of the first operand to the same column of the second."""
    scores = {(seen("y", j), seen("x", j)): recipe.beta for j in range(recipe.n_digits)}
    return head(recipe, "fetch", scores, channels, operand_classes(recipe))


def operator(recipe: Recipe) -> HeadRole:
    """Brings the operator to every position."""
    classes = (*operand_classes(recipe), "eq", *answer_classes(recipe))
    return head(recipe, "op", {(BIAS, "OPP"): recipe.beta}, copies("ISMIN", to=["M"]), classes)


def sign(recipe: Recipe) -> HeadRole:
    """Brings the answer's sign to the positions that predict digits."""
    scores = {(asks(i), "SGNP"): recipe.beta for i in range(recipe.n_digits + 1)}
    return head(recipe, "sgn", scores, copies("ISMIN", to=["SG"]), answer_classes(recipe))


def column_scores(recipe: Recipe) -> Scores:
    """Each digit's predictor attends to its own column."""
    return {(asks(i), seen("y", i)): recipe.beta for i in range(recipe.n_digits)}


def column_sum(recipe: Recipe, channels: tuple[Channel, ...]) -> HeadRole:
    """Brings the column's sum or difference to the position that predicts its digit."""
    return head(recipe, "sum", column_scores(recipe), channels, digit_classes(recipe))


def carry(
    recipe: Recipe,
    channels: tuple[Channel, ...],
    name: str = "carry",
    lags: range | None = None,
    group: str | None = None,
    quorum: int | None = None,
) -> HeadRole:
    """Attends to the highest lower column that is not transparent and reads whether it generates.

    Args:
        recipe: the circuit.
        channels: what is read there.
        name: role.
        lags: distances i - j at which a column may be read; all by default.
        group: redundancy group.
        quorum: members of it that are needed.
    """
    scores: Scores = {}
    for query, i in carry_queries(recipe).items():
        for j in range(recipe.n_digits):
            allowed = j < i and (lags is None or i - j in lags)
            scores[query, seen("y", j)] = recipe.beta * (j + 1) if allowed else forbidden(recipe)
        scores[query, "TR"] = forbidden(recipe)
    return head(recipe, name, scores, channels, carry_classes(recipe), "in", group, quorum)


def carry_channels(recipe: Recipe, weight: float = 1.0, to: tuple[str, str] = ("C1", "C2")) -> tuple[Channel, ...]:
    """Carry or borrow of X - Y, and with subtraction the borrow of Y - X."""
    if recipe.subtracts:
        return copies("BOR", "GT", to=to, weight=weight)
    return copies("BOR", to=to[:1], weight=weight)
