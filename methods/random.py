"""Random scores: the null every other method must beat."""

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores


class Random:
    """Independent uniform scores, drawn from the cell's seed.

    Circuits built from them have the sizes of any other method's, so the row is a size-matched control.
    """

    info = MethodInfo(
        name="random",
        summary="Independent uniform scores: the null that every method must beat.",
        granularities=set(Granularity),
        access="none",
        cost="none",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores every component with a number in [0, 1)."""
        return Scores.of(problem.space, problem.rng.random(len(problem.space)))
