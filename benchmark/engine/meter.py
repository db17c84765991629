"""Forward-equivalents: how much of the model an analysis really ran."""

from contextvars import ContextVar, Token
from types import TracebackType

_ACTIVE: ContextVar[tuple["Meter", ...]] = ContextVar("arithloc_meters", default=())


class Meter:
    """Counts the work of every engine operation called inside the `with` block.

    One unit is one full forward of one pair: rows x blocks x positions actually run, divided by (layers x length).
    The attention part and the MLP part of a block count one half each; a backward pass counts as two forwards.
    Meters nest: the inner work is counted by both.

    Example:
        >>> with Meter() as meter:
        ...     count(rows=1, half_blocks=24, positions=1, n_layers=32, length=10)
        >>> meter.forward_equivalents
        0.0375
    """

    def __init__(self) -> None:
        self.forward_equivalents = 0.0
        self._token: Token[tuple[Meter, ...]] | None = None

    def __enter__(self) -> "Meter":
        self._token = _ACTIVE.set((*_ACTIVE.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _ACTIVE.reset(self._token)


def count(*, rows: int, half_blocks: int, positions: int, n_layers: int, length: int) -> None:
    """Adds rows x half_blocks / 2 x positions / (n_layers x length) to every active meter.

    Args:
        rows: sequences run.
        half_blocks: attention parts and MLP parts that each of them went through.
        positions: positions of each row.
        n_layers: blocks of the model.
        length: tokens of the whole prompt.
    """
    for meter in _ACTIVE.get():
        meter.forward_equivalents += rows * half_blocks * positions / (2 * n_layers * length)
