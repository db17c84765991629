"""Works an ontology prompt out from its text alone.

Knows nothing of how items are drawn: it reads the statements, the query and the sentences of the chain, and follows the
links.
"""

import re
from typing import NamedTuple

_SENTENCE = re.compile(r"(\w+) is (\w+)\.")
_QUERY = re.compile(r"True or false: (\w+) is (\w+)\.")


class Reading(NamedTuple):
    """The word that follows.

    Attributes:
        by_question: by the statements and the query: the next word of the chain derived from them; empty where they do
            not say.
        by_chain: by the sentences of the chain as far as they go: whom they speak of, where they have arrived, what
            they imply.
    """

    by_question: str
    by_chain: str


def next_word(text: str) -> Reading:
    """The word that follows a prompt, from the last question in it.

    Example:
    >>> next_word("Input: blim is red. Max is blim. True or false: Max is red. Response: Max is blim. blim is")
    Reading(by_question='red', by_chain='red')
    """
    question, _, response = text.rpartition("Input:")[2].partition("Response:")
    asked = _QUERY.search(question)
    if asked is None:
        return Reading("", "")
    links = dict(_SENTENCE.findall(question[: asked.start()]))
    said = _SENTENCE.findall(response)
    begun = _SENTENCE.sub("", response).split()
    index = 2 * len(said) + (1 if begun else 0)
    return Reading(_derived(asked[1], links, index), _continued(asked[1], links, said, begun))


def verdict(text: str) -> bool | None:
    """Whether the property asked about follows from the statements; None where the text has no query."""
    question = text.rpartition("Input:")[2].partition("Response:")[0]
    asked = _QUERY.search(question)
    if asked is None:
        return None
    links = dict(_SENTENCE.findall(question[: asked.start()]))
    word: str = asked[1]
    for _ in links:
        if word not in links:
            break
        word = links[word]
    return bool(word == asked[2])


def _derived(entity: str, links: dict[str, str], index: int) -> str:
    """Word `index` of the chain: fact, then rule and derived membership in turn."""
    words = [entity, links.get(entity, "")]
    while len(words) <= index:
        middle = words[-1]
        end = links.get(middle, "")
        words += [middle, end, entity, end] if middle and end else [middle, ""]
        if not end:
            break
    return words[index] if index < len(words) else ""


def _continued(entity: str, links: dict[str, str], said: list[tuple[str, str]], begun: list[str]) -> str:
    """The next word as the chain so far implies it."""
    derived = len(said) > 0 and len(said) % 2 == 0
    if not said:
        return links.get(entity, "") if begun else entity
    if begun:
        return said[-1][1] if derived else links.get(begun[0], "")
    return said[0][0] if derived else said[-1][1]
