"""Audits of naturally trained models: closure, labels and certificates, as a truth document.

No variable is claimed, so check 4 is absent; edges are labelled by measurement.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from arithloc.tasks.toy import measure
from arithloc.tasks.toy.arithmetic import enumerate_questions
from arithloc.tasks.toy.behaviour import exam_questions, examine
from arithloc.tasks.toy.closure import (
    Closure,
    Loaded,
    Pairs,
    Site,
    all_sites,
    audit_questions,
    run_both,
    search,
    wrong,
)
from arithloc.tasks.toy.closure_labels import SiteLabels, label_edges, label_sites, node_label, three_draws
from arithloc.tasks.toy.controls import Control, untrained_twin
from arithloc.tasks.toy.formats import VOCAB
from arithloc.tasks.toy.labels import count_edges
from arithloc.tasks.toy.natural import TRAINER_VERSION, TrainingRecipe, config_of
from arithloc.tasks.toy.plans import Certificate
from arithloc.tasks.toy.subject import Subject, batches
from arithloc.tasks.toy.truth import SCHEMA

MOST_WRONG = 1e-6
LEAST_AGREEMENT = 0.8
LEAST_ACCURACY_DROP = 0.01


@dataclass(frozen=True)
class NaturalPlan:
    """How much is measured.

    Attributes:
        fresh: pairs of each fresh set of the search.
        effects: pairs of each of three draws of single-site effects.
        final: questions of the final joint test, each with three sources; None for all (up to 3 digits).
        edges: questions for edges.
        behaviour: random questions, None for all (up to 3 digits) or the default sample.
        seed: of all draws.
    """

    fresh: int = 20_000
    effects: int = 20_000
    final: int | None = None
    edges: int = 2_000
    behaviour: int | None = None
    seed: int = 0


class NaturalAudit:
    """Finds and proves the closure of one trained model.

    Args:
        name: id of the circuit.
        recipe: how it was trained.
        folder: the model.
        plan: how much to measure.
        report: told about progress.
    """

    def __init__(
        self,
        name: str,
        recipe: TrainingRecipe,
        folder: Path,
        plan: NaturalPlan,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.name, self.recipe, self.plan, self.report = name, recipe, plan, report
        self.subject = Subject.load(folder, np.float32)
        self.weights_sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        self.certificates: list[Certificate] = []
        self.controls: list[Control] = []

    def rng(self, purpose: str) -> np.random.Generator:
        """Generator for one step."""
        return np.random.default_rng([self.plan.seed, *purpose.encode()])

    def certify(self, check: int, name: str, start: float, passed: bool, n: int, value: float, bound: float) -> None:
        """Records one check."""
        seconds = round(time.perf_counter() - start, 3)
        row = Certificate(check, name, passed, n, self.plan.seed, round(value, 8), bound, "float32", seconds)
        self.certificates.append(row)
        self.report(f"check {check}, {name}: {'passed' if passed else 'failed'}, {row.value} ({row.bound})")

    def run(self) -> dict[str, Any]:
        """Runs everything and returns the document without provenance."""
        behaviour = self.behaviour()
        closures = [
            search(self.subject, self.rng(f"closure {i}"), fresh=self.plan.fresh, report=self.report) for i in (1, 2)
        ]
        sites = self.sites(closures)
        self.joint(closures[0])
        nodes = self.nodes(sites)
        edges = self.edges()
        self.run_controls(closures[0])
        self.second()
        complete = len(nodes) == len(self.subject.nodes)
        self.certify(9, "document complete", time.perf_counter(), complete, len(nodes), float(complete), 1.0)
        return {**self.head(behaviour), "nodes": nodes, "neurons": None, **edges, **self.tail()}

    def behaviour(self) -> dict[str, Any]:
        """Check 1."""
        start, form = time.perf_counter(), self.subject.form
        exam = exam_questions(form.n_digits, form.operators, self.rng("behaviour"), self.plan.behaviour)
        mode = "exhaustive" if len(exam) == len(form.operators) * 100**form.n_digits else "sampled"
        found = examine(self.subject, exam, mode)
        share = found.wrong / found.questions
        self.certify(1, "behaviour", start, share <= MOST_WRONG, found.questions, share, MOST_WRONG)
        return {
            "mode": mode,
            "questions": found.questions,
            "wrong": found.wrong,
            "min_margin": round(found.min_margin, 4),
            "free_running_wrong": found.free_running_wrong,
        }

    def sites(self, closures: list[Closure]) -> SiteLabels:
        """Labels, and check 2."""
        start = time.perf_counter()
        effect = three_draws(self.subject, self.plan.effects, self.rng("effects"))
        found = label_sites(closures[0], closures[1], effect)
        self.certify(
            2,
            "agreement of two searches on the sites that are in (Jaccard)",
            start,
            found.agreement >= LEAST_AGREEMENT,
            len(effect),
            found.agreement,
            LEAST_AGREEMENT,
        )
        return found

    def joint(self, closure: Closure) -> None:
        """Check 3: everything outside the closure is resampled, three sources for each question."""
        start, form, rng = time.perf_counter(), self.subject.form, self.rng("final")
        if self.plan.final is None and form.n_digits <= 3:
            questions = enumerate_questions(form.n_digits, form.operators)
            questions = questions[rng.permutation(len(questions))]
        else:
            questions = audit_questions(self.subject, self.plan.final or 100_000, rng)
        total = failed = 0
        for _ in range(3):
            for base, source in run_both(self.subject, Pairs.shuffled(questions, rng)):
                failed += int(wrong(base, source, closure.complement).sum())
                total += len(base.ids)
        self.certify(3, "joint resampling outside the closure", start, failed == 0, total, failed / total, 0.0)

    def nodes(self, sites: SiteLabels) -> list[dict[str, Any]]:
        """Rows of the nodes with their effects: check 7."""
        start = time.perf_counter()
        asked = audit_questions(self.subject, 2_000, self.rng("nodes"))
        effects = measure.node_effects(batches(self.subject, asked), 1, self.rng("node sources"))
        rows = []
        for node in self.subject.nodes:
            classes = {
                cls: sites.labels[Site(node, position)] for position, cls in enumerate(self.subject.form.classes)
            }
            layer, _, head = node[1:].partition(".h")
            found = effects[node]
            rows.append(
                {
                    "id": node,
                    "layer": int(layer),
                    "kind": "head" if head else "mlp",
                    "head": int(head) if head else None,
                    "role": None,
                    "label": node_label(classes),
                    "group": None,
                    "quorum": None,
                    "classes": classes,
                    "effect": {kind: getattr(found, kind).as_dict() for kind in ("resample", "mean", "zero")},
                }
            )
        self.certify(
            7, "effects under resampling, mean and zero", start, True, len(rows), float(len(rows)), float(len(rows))
        )
        return rows

    def edges(self) -> dict[str, Any]:
        """Rows of the edges: check 5."""
        start = time.perf_counter()
        tallies, labels = label_edges(self.subject, self.plan.edges, self.rng("edges"))
        listed = [
            {
                "sender": edge.sender,
                "receiver": edge.receiver,
                "slot": edge.slot,
                "label": label,
                "group": None,
                "quorum": None,
                **tallies[edge].as_dict(),
            }
            for edge, label in labels.items()
            if label != "out"
        ]
        silent = [tallies[edge] for edge, label in labels.items() if label == "out"]
        count = count_edges(self.subject.network.n_layers, self.subject.network.n_heads)
        self.certify(5, "edges measured", start, len(labels) == count, len(labels), float(len(labels)), float(count))
        return {
            "edges": listed,
            "edges_out": {
                "count": len(silent),
                "max_flip": max((t.flip for t in silent), default=0.0),
                "max_dlogit": round(max((t.dlogit for t in silent), default=0.0), 6),
            },
        }

    def run_controls(self, closure: Closure) -> None:
        """Check 6: an untrained model, random sets of the closure's size, and a needed site resampled as well."""
        start, rng = time.perf_counter(), self.rng("controls")
        pairs = Pairs.shuffled(audit_questions(self.subject, 1_000, rng), rng)
        loaded = Loaded.of(self.subject, pairs)
        twin = Loaded.of(untrained_twin(self.subject, rng), pairs)
        right = 1.0 - float(twin.wrong([]).mean())
        self.controls.append(Control("untrained model", "accuracy below 0.01", right, right < LEAST_ACCURACY_DROP))
        sites, best = all_sites(self.subject), 0.0
        for _ in range(10):
            kept = set(rng.permutation(len(sites))[: len(closure.keep)].tolist())
            left = [site for i, site in enumerate(sites) if i not in kept]
            best = max(best, 1.0 - float(loaded.wrong(left).mean()))
        self.controls.append(Control("random sets of the closure's size", "accuracy below 0.5", best, best < 0.5))
        needed = max(closure.keep, key=lambda site: (closure.effect[site], site))
        share = float(loaded.wrong([*closure.complement, needed]).mean())
        self.controls.append(Control("needed site moved out", "> 0 of answers flip", share, share > 0))
        refused = sum(control.passed for control in self.controls)
        self.certify(6, "controls that must fail", start, refused == 3, 3, float(refused), 3.0)

    def second(self) -> None:
        """Check 8: float32 and float64 runs of the file differ by rounding only."""
        start = time.perf_counter()
        asked = audit_questions(self.subject, 256, self.rng("second"))
        exact = replace(self.subject, network=self.subject.network.as_type(np.float64))
        gap = max(
            float(np.abs(a.trace.logits - b.trace.logits).max())
            for a, b in zip(batches(self.subject, asked), batches(exact, asked), strict=True)
        )
        self.certify(8, "second precision: float32 against float64 from the file", start, gap <= 1e-3, 256, gap, 1e-3)

    def head(self, behaviour: dict[str, Any]) -> dict[str, Any]:
        """What the model is."""
        form, recipe = self.subject.form, self.recipe
        return {
            "schema": SCHEMA,
            "id": self.name,
            "tier": "C",
            "stressors": [],
            "generator": {
                "name": "natural",
                "version": TRAINER_VERSION,
                "recipe": recipe.as_dict(),
                "recipe_sha256": recipe.sha256,
            },
            "model": {
                "architecture": "GPT2LMHeadModel",
                "config": config_of(recipe),
                "parameters": sum(array.size for array in self.subject.network.weights.values()),
                "weights_sha256": self.weights_sha256,
                "dtype_min": "float32",
            },
            "format": {
                "n_digits": form.n_digits,
                "operators": form.operators,
                "bos": form.bos,
                "vocab": list(VOCAB),
                "positions": [{"index": i, "class": c} for i, c in enumerate(form.classes)],
            },
            "distribution": {
                "id": f"toy-arith/operands/n{form.n_digits}/{form.operators}",
                "kind": "operands",
                "operand_min": 0,
                "operand_max": 10**form.n_digits - 1,
                "operator_weights": {operator: 1 / len(form.operators) for operator in form.operators},
                "excluded": [],
            },
            "ablation": "counterfactual",
            "tolerance": {"flip": 0.0, "dlogit": 0.0},
            "behaviour": behaviour,
            "variables": [],
        }

    def tail(self) -> dict[str, Any]:
        """What was proven."""
        return {
            "groups": [],
            "certificates": [certificate.as_dict() for certificate in self.certificates],
            "controls": [control.as_dict() for control in self.controls],
        }
