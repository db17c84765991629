"""The form of a fact file, and reading one: the shipped collection or the user's own."""

import json
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from arithloc.benchmark.api.errors import quoted

FORMAT: Literal["arithloc-facts/1"] = "arithloc-facts/1"
SHIPPED = "facts.json"
SLOT = "{s}"

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S(.*\S)?$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Fact(_Strict):
    """One fact.

    Attributes:
        subject: what is asked about, as it stands in the prompt.
        object: the answer.
        entity: unit of the splits; all facts about one thing share it. The subject where empty.
    """

    subject: Text
    object: Text
    entity: str = ""

    @property
    def cluster(self) -> str:
        """The entity."""
        return self.entity or self.subject

    @property
    def shortcut(self) -> bool:
        """Whether subject and answer share a word of four letters or more, or one contains the other."""
        one, two = self.subject.casefold(), self.object.casefold()
        shared = {word for word in one.split() if len(word) > 3} & set(two.split())
        return bool(shared) or one in two or two in one


class Relation(_Strict):
    """What is asked about many subjects.

    Attributes:
        id: name of the relation.
        question: a question with `{s}` for the subject.
        statement: the beginning of a sentence that the answer ends, with `{s}`.
        reply: how the reply to the question begins, before the answer.
        sources: packages that the facts come from, as `name version`.
        facts: one per subject.
    """

    id: Name
    question: Text
    statement: Text
    reply: str = ""
    sources: tuple[str, ...] = ()
    facts: tuple[Fact, ...]

    @model_validator(mode="after")
    def _complete(self) -> "Relation":
        for name, text in (("question", self.question), ("statement", self.statement)):
            if text.count(SLOT) != 1 or text.replace(SLOT, "").count("{") or text.replace(SLOT, "").count("}"):
                raise ValueError(f"the {name} of {self.id} needs {SLOT} once and no other braces, found {quoted(text)}")
        subjects = [fact.subject for fact in self.facts]
        double = sorted({s for s in subjects if subjects.count(s) > 1}) if len(set(subjects)) < len(subjects) else []
        if double:
            raise ValueError(f"{self.id} has two facts about {quoted(double[0])}")
        return self


class Source(_Strict):
    """A package that facts come from.

    Attributes:
        package: name on the package index.
        version: exact version.
        sha256: digest of its wheel.
        licence: of the package, and of the data in it where they differ.
        used_for: which data are taken from it.
    """

    package: Text
    version: Text
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    licence: Text
    used_for: Text


class FactDocument(_Strict):
    """A fact file.

    Attributes:
        format: name and version of the form.
        sources: where the facts come from.
        relations: the facts, by relation.
    """

    format: Literal["arithloc-facts/1"]
    sources: tuple[Source, ...] = ()
    relations: tuple[Relation, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "FactDocument":
        ids = [relation.id for relation in self.relations]
        if not ids or len(set(ids)) < len(ids):
            raise ValueError(f"relations need distinct names, and at least one, found {ids}")
        entities: dict[str, str] = {}
        for relation in self.relations:
            for fact in relation.facts:
                if entities.setdefault(fact.subject, fact.cluster) != fact.cluster:
                    raise ValueError(
                        f"the subject {quoted(fact.subject)} stands for {quoted(entities[fact.subject])} and for "
                        f"{quoted(fact.cluster)}; a subject belongs to one entity, and so to one split"
                    )
        return self

    def relation(self, name: str) -> Relation:
        """The relation of that name."""
        (found,) = [relation for relation in self.relations if relation.id == name]
        return found


def shipped() -> FactDocument:
    """The collection that comes with the package."""
    return _shipped()


@lru_cache(maxsize=1)
def _shipped() -> FactDocument:
    text = resources.files("arithloc.tasks.facts").joinpath(SHIPPED).read_text(encoding="utf-8")
    return FactDocument.model_validate_json(text)


def read(path: Path) -> FactDocument:
    """The facts of a file.

    Raises:
        ValueError: no such file, not JSON, or not of this form; the message names the first place that is wrong.
    """
    try:
        return FactDocument.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(
            f"Expected a readable fact file, found {quoted(str(path))} ({error.strerror}). Check the path."
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise ValueError(
            f"Expected a fact file of the form {FORMAT}, found in {quoted(str(path))} at {where}: {first['msg']}. "
            "See docs/tasks.md for the form."
        ) from None


def dump(document: FactDocument) -> str:
    """The file of a document: JSON with one fact a line."""
    head: dict[str, Any] = {"format": document.format, "sources": [s.model_dump() for s in document.sources]}
    lines = [json.dumps(head, ensure_ascii=False, indent=1)[:-2] + ',\n "relations": [']
    for number, relation in enumerate(document.relations):
        about = relation.model_dump(exclude={"facts"})
        lines.append(json.dumps(about, ensure_ascii=False)[:-1] + ', "facts": [')
        facts = [json.dumps(fact.model_dump(), ensure_ascii=False) for fact in relation.facts]
        lines += [fact + ("," if place + 1 < len(facts) else "") for place, fact in enumerate(facts)]
        lines.append("]}" + ("," if number + 1 < len(document.relations) else ""))
    return "\n".join([*lines, "]}"]) + "\n"
