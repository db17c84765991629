"""Questions that have no answer on a model."""


class CannotScore(Exception):
    """The cell cannot have a score; it is stored as failed under this name.

    Attributes:
        name: `model-cannot`, `no-pairs` or `no-effect`.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
