"""Builds the shipped facts from pinned packages: `python -m arithloc.tasks.facts.build`, the same file byte for byte.

A fact is taken where two packages that were made independently of each other agree on it (a city's country: where its
time zone belongs to that country alone). Names are written without accents. Left out are subjects with several right
answers, and names that mean two things, such as Georgia.
"""

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from arithloc.tasks.facts.schema import FORMAT, SHIPPED, Fact, FactDocument, Relation, Source, dump
from arithloc.tasks.facts.sources import (
    COUNTRYINFO,
    GEONAMES,
    ISO4217,
    MENDELEEV,
    PERIODICTABLE,
    SOURCES,
    TZDATA,
    US,
    Wheels,
    plain,
)

NAME = re.compile(r"[A-Z][a-zA-Z]*([ '-][a-zA-Z]+)*")
SMALLEST_COUNTRY = 100_000
SMALLEST_CITY = 1_000_000
CITIES_PER_COUNTRY = 12
NAMESAKE = 0.1
"""A city is left out when one of the same name in another country has this share of its people."""

FORMER = frozenset({"AN", "CS"})
DISPUTED = frozenset({"EH", "IL", "PS", "TW", "XK"})
NO_CAPITAL = frozenset({"BJ", "BO", "CI", "KZ", "LK", "MY", "ZA"})
"""Several capitals, or one that was renamed of late."""

ON_TWO_CONTINENTS = frozenset({"AM", "AZ", "CY", "EG", "GE", "KZ", "RU", "TR"})
NO_LANGUAGE = frozenset({"BF", "ML", "NE"})
"""The official language was changed of late."""

PARTS_OF_CITIES = frozenset(
    {
        "Abobo", "Al Basrah al Qadimah", "Al Mawsil al Jadidah", "Camayenne", "Gustavo Adolfo Madero",
        "Hong Kong Island", "Iztapalapa", "Khartoum North", "Kowloon", "New Territories", "Pest", "Pikine",
        "Ras Bayrut", "Sadr City", "Soweto",
    }
)  # fmt: skip
WITH_ARTICLE = frozenset(
    {
        "Bahamas", "Central African Republic", "Comoros", "Democratic Republic of the Congo", "Dominican Republic",
        "Gambia", "Maldives", "Netherlands", "Philippines", "Republic of the Congo", "Solomon Islands",
        "United Arab Emirates", "United Kingdom", "United States",
    }
)  # fmt: skip
CONTINENTS = {
    "AF": ("Africa", "Africa"),
    "AS": ("Asia", "Asia"),
    "EU": ("Europe", "Europe"),
    "NA": ("North America", "Americas"),
    "OC": ("Oceania", "Oceania"),
    "SA": ("South America", "Americas"),
}
"""Continents and countryinfo's regions, by GeoNames' codes."""

LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fr": "French",
    "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian",
    "ja": "Japanese", "ka": "Georgian", "km": "Khmer", "ko": "Korean", "lo": "Lao", "lt": "Lithuanian",
    "lv": "Latvian", "mk": "Macedonian", "mn": "Mongolian", "ne": "Nepali", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "uz": "Uzbek", "vi": "Vietnamese",
}  # fmt: skip
"""English names by ISO 639 code."""

WORDINGS = {
    "capital": ("What is the capital of {s}?", "The capital of {s} is", ""),
    "capital_of": ("What is the country with the capital {s}?", "The country with the capital {s} is", ""),
    "continent": ("What is the continent of {s}?", "The continent of {s} is", ""),
    "currency": ("What is the currency of {s}?", "The currency of {s} is the", "The"),
    "language": ("What is the official language of {s}?", "The official language of {s} is", ""),
    "calling_code": ("What is the calling code of {s}?", "The calling code of {s} is", ""),
    "city_country": ("What is the country of the city of {s}?", "The country of the city of {s} is", ""),
    "state_capital": ("What is the state capital of {s}?", "The state capital of {s} is", ""),
    "capital_of_state": ("What is the state with the capital {s}?", "The state with the capital {s} is", ""),
    "chemical_symbol": ("What is the chemical symbol of {s}?", "The chemical symbol of {s} is", ""),
    "atomic_number": ("What is the atomic number of {s}?", "The atomic number of {s} is", ""),
}
"""Question, statement and beginning of the reply, by relation."""


def facts(wheels: Wheels) -> dict[str, list[Fact]]:
    """All facts by relation, before ambiguous subjects are left out."""
    found = _about_countries(wheels)
    found["city_country"] = list(_cities(wheels))
    found |= _states(wheels)
    elements = sorted(set(wheels.elements) & set(wheels.checked_elements), key=lambda e: e.number)
    found["chemical_symbol"] = [Fact(subject=e.name, object=e.symbol, entity=f"element:{e.name}") for e in elements]
    found["atomic_number"] = [Fact(subject=e.name, object=str(e.number), entity=f"element:{e.name}") for e in elements]
    return found


def country_name(geonames: str) -> str:
    """A country as it stands in a sentence, or nothing where its name is not plain."""
    name = plain(geonames).removeprefix("The ")
    if not NAME.fullmatch(name):
        return ""
    return f"the {name}" if name in WITH_ARTICLE else name


def _about_countries(wheels: Wheels) -> dict[str, list[Fact]]:
    kinds = ("capital", "capital_of", "continent", "currency", "language", "calling_code")
    found: dict[str, list[Fact]] = {kind: [] for kind in kinds}
    for code, one in sorted(wheels.countries.items()):
        other, subject = wheels.countryinfo.get(code), country_name(one["name"])
        if other is None or not subject or one["population"] < SMALLEST_COUNTRY or code in DISPUTED | FORMER:
            continue
        entity = f"country:{subject.removeprefix('the ')}"
        capital = plain(one["capital"])
        if capital == plain(other.get("capital") or "") and NAME.fullmatch(capital) and code not in NO_CAPITAL:
            found["capital"].append(Fact(subject=subject, object=capital, entity=entity))
            if not subject.startswith("the "):
                found["capital_of"].append(Fact(subject=capital, object=subject, entity=entity))
        continent, region = CONTINENTS.get(one["continentcode"], ("", ""))
        if region and region == other.get("region") and code not in ON_TWO_CONTINENTS:
            found["continent"].append(Fact(subject=subject, object=continent, entity=entity))
        currency = one["currencyname"].lower()
        if other.get("currencies") == [one["currencycode"]] and currency in wheels.currency_names.get(
            one["currencycode"], ()
        ):
            found["currency"].append(Fact(subject=subject, object=currency, entity=entity))
        language = re.split("[-,]", one["languages"])[0]
        if other.get("languages") == [language] and language in LANGUAGES and code not in NO_LANGUAGE:
            found["language"].append(Fact(subject=subject, object=LANGUAGES[language], entity=entity))
        if other.get("callingCodes") == [one["phone"]] and one["phone"].isdigit():
            found["calling_code"].append(Fact(subject=subject, object=one["phone"], entity=entity))
    return found


def _cities(wheels: Wheels) -> Iterable[Fact]:
    capitals = {plain(country["capital"]) for country in wheels.countries.values()}
    largest: dict[str, Counter[str]] = {}
    for city in wheels.cities:
        of_name = largest.setdefault(plain(city["name"]), Counter())
        of_name[city["countrycode"]] = max(of_name[city["countrycode"]], city["population"])
    taken: Counter[str] = Counter()
    for city in sorted(wheels.cities, key=lambda city: (-city["population"], city["geonameid"])):
        name, code, people = plain(city["name"]), city["countrycode"], city["population"]
        country = country_name(wheels.countries[code]["name"])
        namesakes = max((n for other, n in largest[name].items() if other != code), default=0)
        if (
            people < SMALLEST_CITY
            or code in DISPUTED
            or taken[code] == CITIES_PER_COUNTRY
            or name in capitals | PARTS_OF_CITIES
        ):
            continue
        if not NAME.fullmatch(name) or not country or country.startswith("the ") or namesakes > NAMESAKE * people:
            continue
        if wheels.zone_countries.get(city["timezone"]) == {code}:
            taken[code] += 1
            yield Fact(subject=name, object=country, entity=f"city:{name}")


def _states(wheels: Wheels) -> dict[str, list[Fact]]:
    towns = {(city["name"], city["admin1code"]) for city in wheels.cities if city["countrycode"] == "US"}
    found: dict[str, list[Fact]] = {"state_capital": [], "capital_of_state": []}
    for state in sorted(wheels.states, key=lambda state: str(state["name"])):
        name, capital = state["name"], state["capital"]
        if not state["is_territory"] and (capital, state["abbr"]) in towns:
            entity = f"state:{name}"
            found["state_capital"].append(Fact(subject=name, object=capital, entity=entity))
            found["capital_of_state"].append(Fact(subject=capital, object=name, entity=entity))
    return found


PROVENANCE: dict[str, tuple[Source, ...]] = {
    **dict.fromkeys(("capital", "capital_of", "continent", "language", "calling_code"), (GEONAMES, COUNTRYINFO)),
    "currency": (GEONAMES, COUNTRYINFO, ISO4217),
    "city_country": (GEONAMES, TZDATA),
    **dict.fromkeys(("state_capital", "capital_of_state"), (US, GEONAMES)),
    **dict.fromkeys(("chemical_symbol", "atomic_number"), (PERIODICTABLE, MENDELEEV)),
}
"""Which packages agree on the facts of a relation."""


def document(found: dict[str, list[Fact]]) -> FactDocument:
    """The fact file: subjects that mean two things, or have two answers, are left out everywhere."""
    entities: dict[str, set[str]] = {}
    for relation in found.values():
        for fact in relation:
            entities.setdefault(fact.subject, set()).add(fact.entity)
    relations = []
    for name, listed in found.items():
        times = Counter(fact.subject for fact in listed)
        kept = [fact for fact in listed if len(entities[fact.subject]) == 1 and times[fact.subject] == 1]
        question, statement, reply = WORDINGS[name]
        relations.append(
            Relation(
                id=name,
                question=question,
                statement=statement,
                reply=reply,
                sources=tuple(f"{source.package} {source.version}" for source in PROVENANCE[name]),
                facts=tuple(sorted(kept, key=lambda fact: fact.subject)),
            )
        )
    return FactDocument(format=FORMAT, sources=SOURCES, relations=tuple(relations))


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the file next to this module, or with `--check` only compares."""
    parser = argparse.ArgumentParser(description="Build the shipped facts from pinned packages.")
    parser.add_argument("--wheels", type=Path, help="folder of wheels; those that are missing are downloaded into it")
    parser.add_argument("--check", action="store_true", help="compare with the shipped file instead of writing it")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        wheels = Wheels(options.wheels or Path(scratch))
        wheels.fetch()
        built = document(facts(wheels))
    target = Path(__file__).with_name(SHIPPED)
    text = dump(built).encode()
    same = target.exists() and target.read_bytes() == text
    if not options.check:
        target.write_bytes(text)
    counts = ", ".join(f"{relation.id} {len(relation.facts)}" for relation in built.relations)
    total = sum(len(relation.facts) for relation in built.relations)
    sys.stdout.write(f"{total} facts: {counts}; {'the same' if same else 'not the same'} as before\n")
    return 1 if options.check and not same else 0


if __name__ == "__main__":
    sys.exit(main())
