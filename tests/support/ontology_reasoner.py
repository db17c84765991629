"""Reads an ontology prompt and reasons about it, word by word; shares nothing with the task."""

from dataclasses import dataclass
from itertools import pairwise


@dataclass
class Read:
    """A prompt as read: pairs of words, in the order of the text."""

    statements: list[tuple[str, str]]
    query: tuple[str, str]
    chain: list[tuple[str, str]]
    begun: str  # subject of an unfinished last sentence

    def spans(self) -> dict[str, str]:
        """Word at each place of the prompt, by position class."""
        found = {"query_subject": self.query[0], "query_object": self.query[1]}
        for name, rows in (("question", self.statements), ("chain", self.chain)):
            for number, (subject, object_) in enumerate(rows, start=1):
                found |= {f"{name}{number}_subject": subject, f"{name}{number}_object": object_}
        if self.begun:
            found[f"chain{len(self.chain) + 1}_subject"] = self.begun
        return found

    def words(self) -> set[str]:
        return {word for row in (*self.statements, self.query) for word in row}


def read(text: str) -> Read:
    """The last problem of a prompt."""
    problem = text[text.rindex("Input: ") + len("Input: ") :]
    question, answer = problem.split("\nResponse:")
    stated, asked = question.split(" True or false: ")
    asked, rest = asked.split(". ", 1)
    assert rest == "Let us think step by step."
    sentences = [part.split() for part in answer.split(".")]
    complete, last = sentences[:-1], sentences[-1]
    assert all(len(words) == 3 and words[1] == "is" for words in complete)
    assert last == [] or (len(last) == 2 and last[1] == "is")
    return Read(
        [pair(sentence) for sentence in stated.rstrip(".").split(". ")],
        pair(asked),
        [(words[0], words[2]) for words in complete],
        last[0] if last else "",
    )


def pair(sentence: str) -> tuple[str, str]:
    subject, verb, object_ = sentence.split(" ")
    assert verb == "is"
    return subject, object_


def closure(facts: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Everything that follows by chaining forward: if x is y and y is z, then x is z."""
    known = set(facts)
    while True:
        new = {(x, z) for x, y in known for y2, z in known if y == y2} - known
        if not new:
            return known
        known |= new


def follows(prompt: Read) -> bool:
    """Whether what is asked follows from what is stated."""
    return prompt.query in closure(prompt.statements)


def gold(facts: list[tuple[str, str]], entity: str) -> list[str]:
    """Words of the chain of thought about an entity: each new fact about it with the rule in front that gives it."""
    assert len({subject for subject, _ in facts}) == len(facts), "two statements about one subject"
    known = closure(facts)
    about = sorted((y for x, y in known if x == entity), key=lambda y: -sum((y, z) in known for z in about_all(facts)))
    words = [entity, about[0]]
    for middle, end in pairwise(about):
        assert (middle, end) in facts
        words += [middle, end, entity, end]
    return words


def about_all(facts: list[tuple[str, str]]) -> set[str]:
    return {word for fact in facts for word in fact}


def next_by_question(prompt: Read) -> str:
    """The word that follows, if the statements are right whatever the chain says."""
    return gold(prompt.statements, prompt.query[0])[2 * len(prompt.chain) + bool(prompt.begun)]


def next_by_chain(prompt: Read) -> str:
    """The word that follows, if the chain so far is right whatever the statements say: its sentences replace theirs."""
    if not prompt.chain:
        return next_by_question(prompt)
    entity = prompt.chain[0][0]
    said = [row for row in prompt.chain if row[0] != entity] + [prompt.chain[0]]
    kept = [row for row in prompt.statements if row[0] not in {subject for subject, _ in said}]
    words = gold(said + kept, entity)
    written = [word for row in prompt.chain for word in row] + ([prompt.begun] if prompt.begun else [])
    assert words[: len(written)] == written
    return words[len(written)]
