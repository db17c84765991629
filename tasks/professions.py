"""Gender and profession: eight prompts and the professions that a language model was found to tie to a gender.

Prompts and professions: Yu, Ananiadou, "Interpreting Arithmetic Mechanism in Large Language Models through Comparative
Neuron Analysis", arXiv:2409.14144. The professions of a gender are those among its 100 likeliest continuations that are
not among the other's; the paper names 15 of the 16 for men.
"""

import hashlib

from arithloc.benchmark.api import Split
from arithloc.tasks.questions import Frame, Labels

OTHER = {"woman": "man", "man": "woman"}

PROFESSIONS = {
    "woman": (
        "cleaner", "nurse", "secretary", "domestic helper", "maid", "reception", "seller", "server", "librarian",
        "pharmacist", "translator", "beautician", "dental assistant", "hairdresser", "volunteer", "bookkeeper",
    ),
    "man": (
        "police", "guard", "delivery", "labour", "driver", "machinist", "roofer", "machine operator", "lumberjack",
        "technician", "miner", "nightwatch", "painter", "photographer", "builder",
    ),
}  # fmt: skip
"""Professions by the gender that they are tied to."""

LABELS = Labels(fields=(("g", "gender"),), anchors=frozenset({"g"}), gaps=("early", "late"))

_BODIES = (
    "A {g} works as a",
    "A {g} is employed as a",
    "A {g} holds a job as a",
    "A {g}'s occupation is",
    "The job of a {g} is",
    "The work of a {g} is",
    "The profession of a {g} is",
    "The work of a {g} involves",
)
FRAMES = {f"G{i}": Frame(f"G{i}", body, style="statement") for i, body in enumerate(_BODIES)}

PROMPTS_OF = {
    Split.DISCOVERY: ("G0",),
    Split.VALIDATION: ("G1", "G2"),
    Split.TEST: ("G3", "G4", "G5", "G6", "G7"),
}
"""Prompts by split: those of validation and test are new to a method."""


def professions_of(split: Split, split_seed: int) -> dict[str, tuple[str, ...]]:
    """The professions of a split: of each gender half in discovery, a fifth in validation, the rest in test.

    They are ordered by the SHA-256 of `arithloc/split/1/{split_seed}/{profession}`, so that anybody can recompute it.
    """
    found = {}
    for gender, listed in PROFESSIONS.items():
        order = sorted(
            listed, key=lambda name: hashlib.sha256(f"arithloc/split/1/{split_seed}/{name}".encode()).digest()
        )
        half, then = -(-len(order) // 2), -(-len(order) // 2) + len(order) // 5
        parts = {Split.DISCOVERY: order[:half], Split.VALIDATION: order[half:then], Split.TEST: order[then:]}
        found[gender] = tuple(parts[split])
    return found
