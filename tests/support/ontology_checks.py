"""Checks of ontology pairs that share no code with the task: everything is recomputed from tokens and text."""

import re

from support.ontology_reasoner import next_by_chain, next_by_question, read
from support.pair_checks import check_tokens, membership

from arithloc.benchmark.api import PromptPair
from arithloc.tasks.ontology_taxonomy import trees

TOP = {word: tree.top for tree in trees() for path in tree.paths for word in path}


def check_ontology_pair(tokenizer, pair: PromptPair, split_seed: int = 0) -> None:
    """All rules: tokens, classes, first tokens, edits, answers, split."""
    check_tokens(tokenizer, pair)
    assert pair.first_diff == 0
    before, after = read(pair.clean), read(pair.counterfactual)
    for prompt, ids in ((before, pair.clean_ids), (after, pair.counterfactual_ids)):
        check_positions(tokenizer, prompt, ids, pair.classes)
    differ = {place for place, word in before.spans().items() if after.spans()[place] != word}
    apart = zip(pair.clean_ids, pair.counterfactual_ids, pair.classes, strict=True)
    changed = {cls for one, other, cls in apart if one != other}
    assert differ == changed or (changed <= differ and len(differ) == 1)
    check_answers(pair, before, after)
    names = {before.query[0], after.query[0], *(s for s, _ in before.statements if s[0].isupper())}
    nouns = {w for row in (*before.statements, *after.statements) for w in row if w[0].islower()} - properties(pair)
    for word in (*names, *nouns):
        assert membership(split_seed, TOP.get(word, word)) is pair.split
    stated = {word for row in before.statements for word in row if word[0].islower()} - properties(pair)
    assert pair.cluster == ",".join(sorted(stated))


def properties(pair: PromptPair) -> set[str]:
    """Last words of all chains of the clean prompt, and what stands in their places in the counterfactual one."""
    before, after = read(pair.clean), read(pair.counterfactual)
    entities = {subject for subject, _ in before.statements if subject[0].isupper()}
    ends = {before.query[1], *chain_ends(before.statements, entities, int(dict(pair.strata)["hops"]))}
    return ends | {after.spans()[place] for place, word in before.spans().items() if word in ends}


def chain_ends(statements, entities, hops):
    """Last words of all chains: behind a name after `hops` classes, behind a distractor after two."""
    links = dict(statements)
    starts = [(links[entity], hops) for entity in entities]
    inner = {object_ for _, object_ in statements}
    starts += [(subject, 2) for subject in links if subject not in inner | entities]
    for word, n in starts:
        for _ in range(n):
            word = links[word]
        yield word


def check_positions(tokenizer, prompt, ids, classes) -> None:
    """The tokens of each class spell the word that stands there in the text."""
    texts = {}
    for token, cls in zip(ids, classes, strict=True):
        texts.setdefault(cls, []).append(token)
    shown = {cls: tokenizer.decode(tokens, clean_up_tokenization_spaces=False).strip() for cls, tokens in texts.items()}
    for place, word in prompt.spans().items():
        assert shown[place] == word, (place, shown[place], word)
    n_words = {re.sub("_.*", "", cls) for cls in classes if cls.startswith("question")}
    assert len(n_words) == len(prompt.statements)
    assert shown["last"] in ("is", ".", ":") and shown["query"] == "True or false:"


def check_answers(pair: PromptPair, before, after) -> None:
    """The next word of both prompts, as the kind has it."""
    assert next_by_question(before) == next_by_chain(before) == pair.answer
    by_question, by_chain = next_by_question(after), next_by_chain(after)
    if pair.kind == "control":
        assert by_question == by_chain == pair.answer != pair.answer_cf
        assert pair.answer_cf_is_foil and pair.answer_cf in before.words()
    elif pair.kind.endswith("_q"):
        assert by_question == pair.answer_cf and by_chain == pair.answer
    elif pair.kind.endswith("_g"):
        assert by_question == pair.answer and by_chain == pair.answer_cf
    else:
        assert by_question == by_chain == pair.answer_cf
    assert pair.answer_cf_is_foil == (pair.kind == "control")
