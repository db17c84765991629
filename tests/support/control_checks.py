"""Checks of retrieval, recall and gender pairs that share no code with the generators."""

import json
import re
from functools import cache
from importlib import resources

from support.pair_checks import membership, query_text

from arithloc.benchmark.api import PromptPair

PROFESSIONS = {
    "woman": "cleaner/nurse/secretary/domestic helper/maid/reception/seller/server/librarian/pharmacist/translator/"
    "beautician/dental assistant/hairdresser/volunteer/bookkeeper",
    "man": "police/guard/delivery/labour/driver/machinist/roofer/machine operator/lumberjack/technician/miner/nightwatch/"
    "painter/photographer/builder",
}


def spelled(tokenizer, ids, classes, *wanted: str) -> str:
    kept = [i for i, cls in zip(ids, classes, strict=True) if cls in wanted]
    return tokenizer.decode(kept, clean_up_tokenization_spaces=False).strip()


def check_places(pair: PromptPair, name: str) -> None:
    """The tokens of a name stand together: first, then middle ones, then the last."""
    where = [i for i, cls in enumerate(pair.classes) if cls.startswith(name + "_")]
    assert where == list(range(where[0], where[-1] + 1))
    found = [pair.classes[i].removeprefix(name + "_") for i in where]
    n = len(found)
    assert found == (["last"] if n == 1 else ["first", *["mid"] * (n - 2), "last"])


def differing(pair: PromptPair) -> set[str]:
    zipped = zip(pair.clean_ids, pair.counterfactual_ids, pair.classes, strict=True)
    return {cls for one, two, cls in zipped if one != two}


def counted(tokenizer, pair: PromptPair, ids) -> tuple[list[tuple[int, str]], str, int]:
    """What a retrieval prompt counts, what it asks for, and the answer: read word by word from the decoded tokens."""
    text = query_text(tokenizer, pair, ids)
    said, _, asked = text.partition("How many ")
    words = said.replace(".", " ").split()
    things = [(int(w), words[i + 1]) for i, w in enumerate(words) if w.isdigit()]
    noun = asked.split()[0]
    (answer,) = [n for n, thing in things if thing == noun]
    return things, noun, answer


def check_retrieval(tokenizer, pair: PromptPair, seed: int = 0) -> None:
    clean, noun, answer = counted(tokenizer, pair, pair.clean_ids)
    other, other_noun, other_answer = counted(tokenizer, pair, pair.counterfactual_ids)
    assert (str(answer), str(other_answer)) == (pair.answer, pair.answer_cf) and answer != other_answer
    for ids, things, asked in ((pair.clean_ids, clean, noun), (pair.counterfactual_ids, other, other_noun)):
        assert len(things) == 2 and min(n for n, _ in things) >= 2 and len({thing for _, thing in things}) == 2
        for place, (number, thing) in enumerate(things, 1):
            assert spelled(tokenizer, ids, pair.classes, f"number{place}") == str(number)
            assert spelled(tokenizer, ids, pair.classes, f"entity{place}") == thing
        assert spelled(tokenizer, ids, pair.classes, "asked_first", "asked_mid", "asked_last") == asked
        assert membership(seed, *sorted(n for n, _ in things)) is pair.split
    check_places(pair, "asked")
    assert pair.cluster == ",".join(map(str, sorted(n for n, _ in clean)))
    tags = dict(pair.strata)
    assert tags["asked_slot"] == str(1 + [thing for _, thing in clean].index(noun))
    if pair.kind == "entity_swap":
        assert clean == other and {answer, other_answer} == {n for n, _ in clean} and noun != other_noun
        assert differing(pair) <= {"asked_first", "asked_mid", "asked_last"}
    else:
        assert [thing for _, thing in clean] == [thing for _, thing in other] and noun == other_noun
        assert all(one != two for (one, _), (two, _) in zip(clean, other, strict=True))
        assert differing(pair) == {"number1", "number2"}


@cache
def known() -> dict[str, dict]:
    """The shipped file, read as plain JSON: wordings and facts by relation and subject."""
    text = resources.files("arithloc.tasks.facts").joinpath("facts.json").read_text(encoding="utf-8")
    return {
        relation["id"]: {**relation, "about": {fact["subject"]: fact for fact in relation["facts"]}}
        for relation in json.loads(text)["relations"]
    }


def check_fact(tokenizer, pair: PromptPair, seed: int = 0) -> None:
    relation = known()[pair.operator]
    for ids, answer in ((pair.clean_ids, pair.answer), (pair.counterfactual_ids, pair.answer_cf)):
        subject = spelled(tokenizer, ids, pair.classes, "subject_first", "subject_mid", "subject_last")
        fact = relation["about"][subject]
        assert fact["object"] == answer
        asked = relation["question"].replace("{s}", subject), relation["statement"].replace("{s}", subject)
        wanted = {"F3": f"Q: {asked[0]} A: {relation['reply']}".strip(), "F4": asked[1]}[pair.frame[:2]]
        assert pair.frame[2:] == f"-{pair.operator}"
        assert query_text(tokenizer, pair, ids).strip() == wanted
        assert membership(seed, fact["entity"]) is pair.split
        assert not re.search(rf"\b{re.escape(answer)}\b", asked[0], re.IGNORECASE)
    check_places(pair, "subject")
    clean = spelled(tokenizer, pair.clean_ids, pair.classes, "subject_first", "subject_mid", "subject_last")
    assert pair.cluster == relation["about"][clean]["entity"]
    assert pair.answer != pair.answer_cf and pair.kind == "subject_swap"
    assert differing(pair) <= {"subject_first", "subject_mid", "subject_last"}


def check_gender(tokenizer, pair: PromptPair) -> None:
    genders = []
    for ids, answer in ((pair.clean_ids, pair.answer), (pair.counterfactual_ids, pair.answer_cf)):
        words = query_text(tokenizer, pair, ids).replace("'", " ").split()
        (gender,) = {"woman", "man"} & set(words)
        assert answer in PROFESSIONS[gender].split("/")
        assert spelled(tokenizer, ids, pair.classes, "gender") == gender
        genders.append(gender)
    assert sorted(genders) == ["man", "woman"] and dict(pair.strata)["gender"] == genders[0]
    assert differing(pair) == {"gender"} and pair.first_diff == 0 and pair.cluster == pair.answer
