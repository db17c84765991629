"""Options of methods and tasks: their dataclass fields, given as text on the command line."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from arithloc.benchmark.api.errors import BadOption, UnknownName, quoted

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Reference:
    """What `--method` and `--task` take: a name and its options.

    Attributes:
        name: registered name, `path.py:Class` or `package.module:Class`.
        options: option texts by field name.
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Reads `name` or `name[field=value,field=value]`.

        Raises:
            BadOption: the part in brackets is not a list of `field=value`.

        Example:
        >>> Reference.parse("addition[digits=2,shots=4]")
        Reference(name='addition', options=(('digits', '2'), ('shots', '4')))
        """
        name, bracket, rest = text.strip().partition("[")
        if not bracket:
            return cls(name)
        if not rest.endswith("]"):
            raise BadOption(f"Expected {name}[field=value,...], found {quoted(text)}. Close the bracket.")
        options = []
        for part in rest[:-1].split(","):
            key, equals, value = part.partition("=")
            if not equals or not key.strip():
                raise BadOption(
                    f"Expected field=value in {quoted(text)}, found {quoted(part)}. Write {name}[field=value]."
                )
            options.append((key.strip(), value.strip()))
        return cls(name, tuple(options))

    def with_options(self, options: Mapping[str, str]) -> "Reference":
        """The same name with `options` taking precedence."""
        return Reference(self.name, tuple(sorted({**dict(self.options), **options}.items())))

    @property
    def label(self) -> str:
        """As it is shown to people: a file without its folders.

        Example:
        >>> Reference("/home/me/mine.py:Mine").label
        'mine.py:Mine'
        """
        return str(Reference(self.name.rpartition("/")[2] if ":" in self.name else self.name, self.options))

    def __str__(self) -> str:
        inner = ",".join(f"{key}={value}" for key, value in self.options)
        return f"{self.name}[{inner}]" if inner else self.name


def build(cls: type[T], name: str, options: Mapping[str, str]) -> T:
    """Makes an instance of a method or task class from option texts.

    Args:
        cls: the class; its dataclass fields are its options.
        name: how the user called it, for messages.
        options: text by field name.

    Raises:
        UnknownName: no field of that name.
        BadOption: a text that its field's type does not accept, or a value that the class itself refuses.
    """
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init} if dataclasses.is_dataclass(cls) else {}
    hints = typing.get_type_hints(cls) if fields else {}
    values: dict[str, Any] = {}
    for key, text in options.items():
        if key not in fields:
            raise UnknownName.among(f"option of {name}", key, fields)
        try:
            values[key] = convert(text, hints[key])
        except ValueError as error:
            raise BadOption(f"Option {name}.{key}: {error}") from None
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise BadOption(f"{name} refuses these options: {error}") from None


def recorded(instance: object) -> dict[str, Any]:
    """All option values of a method or task, defaults included, as plain JSON values."""
    if not dataclasses.is_dataclass(instance) or isinstance(instance, type):
        return {}
    return {f.name: _plain(getattr(instance, f.name)) for f in dataclasses.fields(instance) if f.init}


def convert(text: str, hint: Any) -> Any:
    """Reads one option text as the declared type.

    Raises:
        ValueError: with a sentence naming what was expected and found.

    Example:
    >>> convert("1 2 3", tuple[int, ...])
    (1, 2, 3)
    >>> convert("none", int | None) is None
    True
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(None) in args and text.lower() in ("none", ""):
            return None
        (inner,) = [a for a in args if a is not type(None)]
        return convert(text, inner)
    if origin is typing.Literal:
        for choice in args:
            if text == str(choice):
                return choice
        raise ValueError(f"expected one of {', '.join(map(str, args))}, found {quoted(text)}.")
    if origin is tuple:
        return tuple(convert(part, args[0]) for part in text.replace("+", " ").split())
    if hint is bool:
        if text.lower() in ("true", "yes", "1", "on"):
            return True
        if text.lower() in ("false", "no", "0", "off"):
            return False
        raise ValueError(f"expected true or false, found {quoted(text)}.")
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(text)
        except ValueError:
            raise ValueError(
                f"expected one of {', '.join(str(m.value) for m in hint)}, found {quoted(text)}."
            ) from None
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            kind = "a whole number" if hint is int else "a number"
            raise ValueError(f"expected {kind}, found {quoted(text)}.") from None
    if hint is str:
        return text
    raise ValueError(f"cannot be set on the command line (its type is {hint}).")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(v) for v in value)
    return value
