"""Options as text: what converts, what is refused, and what is recorded."""

from dataclasses import dataclass
from typing import Literal

import pytest

from arithloc.benchmark.api import Granularity
from arithloc.benchmark.api.errors import BadOption, UnknownName
from arithloc.benchmark.api.options import Reference, build, recorded


@dataclass(frozen=True)
class Example:
    count: int = 3
    share: float = 0.5
    loud: bool = False
    mode: Literal["input", "model"] = "input"
    space: Granularity = Granularity.NODE
    frames: tuple[str, ...] = ("F5",)
    head: str | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("count must not be negative")


class Bare:
    pass


def test_every_type_of_field_is_read_from_text() -> None:
    made = build(
        Example,
        "example",
        {
            "count": "7",
            "share": "1",
            "loud": "yes",
            "mode": "model",
            "space": "edge",
            "frames": "F0+F3",
            "head": "a1.h2",
        },
    )
    assert made == Example(7, 1.0, True, "model", Granularity.EDGE, ("F0", "F3"), "a1.h2")
    assert isinstance(made.share, float)


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("count", "2.5", "a whole number"),
        ("share", "half", "a number"),
        ("loud", "maybe", "true or false"),
        ("mode", "static", "one of input, model"),
        ("space", "tensor", "one of layer, node, neuron, edge"),
        ("count", "-1", "must not be negative"),
    ],
)
def test_a_wrong_value_names_the_option_and_what_was_expected(field: str, text: str, expected: str) -> None:
    with pytest.raises(BadOption, match=expected):
        build(Example, "example", {field: text})


def test_an_unknown_option_suggests_a_near_one() -> None:
    with pytest.raises(UnknownName, match="Did you mean count"):
        build(Example, "example", {"cont": "1"})


def test_a_class_without_fields_takes_no_options() -> None:
    assert isinstance(build(Bare, "bare", {}), Bare)
    with pytest.raises(UnknownName):
        build(Bare, "bare", {"x": "1"})


def test_recorded_options_hold_the_defaults_as_plain_values() -> None:
    assert recorded(Example()) == {
        "count": 3,
        "share": 0.5,
        "loud": False,
        "mode": "input",
        "space": "node",
        "frames": ["F5"],
        "head": None,
    }


def test_a_reference_survives_text() -> None:
    reference = Reference.parse("./mine.py:Mine[power=2,mode=model]")
    assert reference.name == "./mine.py:Mine"
    assert Reference.parse(str(reference)) == reference
    assert reference.with_options({"power": "3"}).options == (("mode", "model"), ("power", "3"))


@pytest.mark.parametrize("text", ["a[b=1", "a[b]", "a[=1]"])
def test_a_broken_reference_is_refused(text: str) -> None:
    with pytest.raises(BadOption):
        Reference.parse(text)
