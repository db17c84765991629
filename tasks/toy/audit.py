"""Audits: prove a compiled circuit causally, on the files that it ships, and write the truth document with the proof.

The checks, by number: 1 behaviour, 2 interchange of single nodes and position classes, 3 joint resampling of all that
is `out`, 4 variable swaps, 5 edges, 6 controls that must fail, 7 effects under three ablations, 8 a second
implementation, 9 the document itself.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from arithloc.benchmark.api import Progress
from arithloc.benchmark.api.method import no_progress
from arithloc.tasks.toy import groups, measure
from arithloc.tasks.toy.arithmetic import Questions, enumerate_questions, random_questions, token_ids
from arithloc.tasks.toy.behaviour import Behaviour, exam_questions, examine
from arithloc.tasks.toy.compiled import Compiled, compile_circuit
from arithloc.tasks.toy.controls import Claim, Control, run_controls
from arithloc.tasks.toy.export import write_folder
from arithloc.tasks.toy.interchange import slot
from arithloc.tasks.toy.labels import edge_labels, node_labels, real_edges, role_ids
from arithloc.tasks.toy.placement import place
from arithloc.tasks.toy.plans import QUICK, Certificate, Plan
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.subject import Batch, Subject, batches
from arithloc.tasks.toy.swaps import variables
from arithloc.tasks.toy.truth import OUT_DLOGIT, disagreements, edges_out, provenance, structure

MARGIN_BOUND = {True: 10.0, False: 4.0}
"""Smallest accepted margin, for beta of at least 24 and for softer circuits."""
N_CERTIFICATES = 10
"""Certificates of a circuit without groups."""


class Audit:
    """Measures one circuit.

    Args:
        name: id of the circuit.
        built: what is claimed: its roles and where they are.
        subject: the model as read back from its folder, in float64.
        shipped: the same in float32, as users run it.
        plan: how much to measure.
        claimed: a truth document whose claims must be those of the recipe; None to make a new one.
        progress: called after each check.
    """

    def __init__(
        self,
        name: str,
        built: Compiled,
        subject: Subject,
        shipped: Subject,
        plan: Plan,
        claimed: Mapping[str, Any] | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self.name, self.built, self.plan, self.claimed, self.progress = name, built, plan, claimed, progress
        self.subject, self.shipped = subject, shipped
        self.nodes, self.edges = node_labels(built), edge_labels(built)
        self.certificates: list[Certificate] = []
        self.document = structure(name, built)
        self.groups = [g for g in self.document["groups"] if set(g["members"]) <= set(self.nodes)]

    def rng(self, purpose: str) -> np.random.Generator:
        """Generator for one check."""
        return np.random.default_rng([self.plan.seed, *purpose.encode()])

    def questions(self, count: int, purpose: str) -> Questions:
        """All questions in random order if there are at most `count`, else `count` random ones."""
        form, rng = self.subject.form, self.rng(purpose)
        if len(form.operators) * 100**form.n_digits <= count:
            everything = enumerate_questions(form.n_digits, form.operators)
            return everything[rng.permutation(len(everything))]
        return random_questions(form.n_digits, form.operators, count, rng)

    def chained(self, count: int, purpose: str) -> Iterator[Batch]:
        """Batches of questions in which most columns are transparent, so that rare roles are needed."""
        form = self.subject.form
        asked = random_questions(form.n_digits, form.operators, count, self.rng(purpose), transparent=0.6)
        return batches(self.subject, asked)

    def batches(self, count: int, purpose: str) -> Iterator[Batch]:
        """Batches of questions with their runs."""
        return batches(self.subject, self.questions(count, purpose))

    def certify(self, check: int, name: str, work: Callable[[], tuple[bool, int, float | None, float | None]]) -> None:
        """Runs one check; `work` returns passed, n, value and bound."""
        start = time.perf_counter()
        passed, n, value, bound = work()
        dtype = "float32" if check == 1 else "float64"
        seconds = round(time.perf_counter() - start, 3)
        rounded = None if value is None else round(value, 6)
        self.certificates.append(Certificate(check, name, passed, n, self.plan.seed, rounded, bound, dtype, seconds))
        self.progress(len(self.certificates), N_CERTIFICATES + len(self.groups))

    def run(self) -> "Audit":
        """Runs all checks."""
        self.certify(1, "behaviour", self.behaviour)
        self.certify(2, "interchange of single nodes", self.single_nodes)
        self.certify(2, "interchange of single nodes at one position class", self.position_classes)
        self.certify(3, "joint resampling of all nodes that are out", self.joint)
        self.certify(4, "variable swaps and resampling among equal values", self.swaps)
        self.certify(5, "edges measured equal edges derived from the weights", self.all_edges)
        for group in self.groups:
            self.certify(3, f"group {group['name']}", partial(self.group, group))
        self.certify(6, "controls that must fail", self.controls)
        self.certify(7, "effects under resampling, mean and zero", self.cross)
        self.certify(8, "second implementation: recomputation from the file", self.second)
        self.certify(9, "document complete", self.complete)
        return self

    def behaviour(self) -> tuple[bool, int, float | None, float | None]:
        """Check 1."""
        form, recipe = self.subject.form, self.built.recipe
        exam = exam_questions(form.n_digits, form.operators, self.rng("behaviour"), self.plan.behaviour)
        mode = "exhaustive" if len(exam) == len(form.operators) * 100**form.n_digits else "sampled"
        found: Behaviour = examine(self.shipped, exam, mode)
        self.document["behaviour"] = {
            "mode": found.mode,
            "questions": found.questions,
            "wrong": found.wrong,
            "min_margin": round(found.min_margin, 4),
            "free_running_wrong": found.free_running_wrong,
        }
        bound = MARGIN_BOUND[recipe.beta >= 24]
        return found.wrong == 0 and found.min_margin >= bound, found.questions, found.min_margin, bound

    def single_nodes(self) -> tuple[bool, int, float | None, float | None]:
        """Check 2: `in` nodes flip answers, `out` nodes flip none and move no logit by more than 0.01."""
        effects = measure.node_effects(self.batches(self.plan.nodes, "nodes"), 2, self.rng("node sources"))
        for row in self.document["nodes"]:
            found = effects[row["id"]]
            row["effect"] = {kind: getattr(found, kind).as_dict() for kind in ("resample", "mean", "zero")}
        tallies = {node: effects[node].resample for node in self.nodes}
        good, worst = True, 0.0
        for node, label in self.nodes.items():
            tally = tallies[node]
            if label.label == "out" or (label.label == "in" and label.quorum):
                good &= tally.flipped == 0 and (label.label == "in" or tally.dlogit <= OUT_DLOGIT)
                worst = max(worst, tally.dlogit if label.label == "out" else 0.0)
            else:
                good &= tally.flipped > 0
        return good, next(iter(tallies.values())).total, worst, OUT_DLOGIT

    def position_classes(self) -> tuple[bool, int, float | None, float | None]:
        """Check 2 at one position class at a time."""
        effects = measure.class_effects(self.chained(self.plan.classes, "classes"), self.rng("class sources"))
        mismatches, cells = 0, 0
        for node, label in self.nodes.items():
            for cls, claimed in label.classes.items():
                tally, cells = effects[node][cls], cells + 1
                if claimed == "out":
                    # soft attention leaks a little at positions that a role does not serve
                    mismatches += measure.active(tally)
                elif not label.quorum:
                    mismatches += not measure.active(tally)
        return mismatches == 0, cells, float(mismatches), 0.0

    def joint(self) -> tuple[bool, int, float | None, float | None]:
        """Check 3; with a quorum, jointly with any members that it can spare."""
        outside = [node for node, label in self.nodes.items() if label.label == "out"]
        sets = [[*outside, *spare] for spare in groups.spares(self.groups)]
        tally = measure.joint_effect(self.batches(self.plan.joint, "joint"), sets, 3, self.rng("joint sources"))
        return tally.flipped == 0, tally.total, tally.flip, 0.0

    def swaps(self) -> tuple[bool, int, float | None, float | None]:
        """Check 4."""
        recipe = self.built.recipe
        known = variables(recipe.variant, recipe.stressor, recipe.subtracts)
        scores = measure.swap_scores(
            self.batches(self.plan.swaps, "swaps"), known, role_ids(self.built), self.rng("swap sources")
        )
        for row in self.document["variables"]:
            row["iia"] = round(scores[row["name"]].iia, 6)
        worst = min(min(s.followed, s.kept) / s.total for s in scores.values())
        return worst == 1.0, sum(s.total for s in scores.values()), worst, 1.0

    def all_edges(self) -> tuple[bool, int, float | None, float | None]:
        """Check 5."""
        network, rng = self.subject.network, self.rng("edge sources")
        everything = list(real_edges(network.n_layers, network.n_heads))
        effects = measure.edge_effects(self.batches(self.plan.edges, "edges"), everything, rng)
        unseen = [e for e, t in effects.items() if e in self.edges and not measure.active(t)]
        rare = measure.edge_effects(self.chained(self.plan.edges, "rare edges"), unseen, rng)
        mismatches, max_flip, max_dlogit = 0, 0.0, 0.0
        for edge, tally in effects.items():
            label = self.edges.get(edge)
            if label is None:
                max_flip, max_dlogit = max(max_flip, tally.flip), max(max_dlogit, tally.dlogit)
                mismatches += tally.flipped > 0 or tally.dlogit > OUT_DLOGIT
            elif label.label == "static":
                mismatches += tally.flipped > 0 or tally.dlogit > OUT_DLOGIT
            elif not label.quorum:
                mismatches += not (measure.active(tally) or measure.active(rare[edge]))
        redundant = [edge for edge, label in self.edges.items() if label.quorum]
        mismatches += groups.hidden_edges(redundant, self.chained(self.plan.edges, "edges"), self.rng("edge groups"))
        for row, edge in zip(self.document["edges"], self.edges, strict=True):
            row.update(effects[edge].as_dict())
        self.document["edges_out"] = edges_out(self.built, len(self.edges), max_flip, round(max_dlogit, 6))
        return mismatches == 0, len(effects), float(mismatches), 0.0

    def group(self, group: dict[str, Any]) -> tuple[bool, int, float | None, float | None]:
        """Check 3 for one group: what several of its members do that one alone does not, or the other way round."""
        return groups.check(group, lambda: self.batches(self.plan.swaps, "groups"), self.rng("group sources"))

    def controls(self) -> tuple[bool, int, float | None, float | None]:
        """Check 6."""
        batch = next(iter(self.batches(500, "controls")))
        found: list[Control] = run_controls(batch, self.claim(), self.rng("control draws"))
        self.document["controls"] = [control.as_dict() for control in found]
        refused = sum(control.passed for control in found)
        return refused == len(found), len(found), float(refused), float(len(found))

    def claim(self) -> Claim:
        """What the controls distort."""
        inside = tuple(node for node, label in self.nodes.items() if label.label == "in")
        outside = tuple(node for node, label in self.nodes.items() if label.label == "out")
        essential = frozenset(node for node in inside if not self.nodes[node].quorum)
        quorum = [group for group in self.groups if group["meaning"] == "majority"]
        moved = tuple(quorum[0]["members"][:2]) if quorum else (min(essential),)
        return Claim(inside, essential, outside, self.elsewhere(essential), moved)

    def elsewhere(self, essential: frozenset[str]) -> tuple[str, ...] | None:
        """Nodes that the same program leaves out under another seed, where that would drop an essential node."""
        for seed in range(1, 20):
            other: Recipe = replace(self.built.recipe, seed=self.built.recipe.seed + seed)
            spot = place(self.built.program, other)
            used = {*(("a", *s) for s in spot.heads.values()), *(("m", layer, None) for layer in spot.mlps.values())}
            left = tuple(n for n in self.subject.nodes if (n[0], *slot(n)) not in used)
            if essential & set(left):
                return left
        return None

    def cross(self) -> tuple[bool, int, float | None, float | None]:
        """Check 7: the table is complete."""
        rows = self.document["nodes"]
        return all(set(row["effect"]) == {"resample", "mean", "zero"} for row in rows), len(rows), None, None

    def second(self) -> tuple[bool, int, float | None, float | None]:
        """Check 8: the file, read back and run in float64, gives the logits of the weights that were compiled."""
        asked = self.questions(64, "second")
        ids = token_ids(asked, self.subject.form)[:, :-1]
        compiled = Subject(type(self.subject.network)(self.built.weights, self.built.config), self.subject.form)
        gap = np.abs(Batch.of(self.subject, asked).trace.logits - compiled.network.run(ids).logits).max()
        return bool(gap <= 1.0), len(asked), float(gap), 1.0

    def complete(self) -> tuple[bool, int, float | None, float | None]:
        """Check 9: every check is there, every component exactly once, and a claimed document says the same."""
        names = [row["id"] for row in self.document["nodes"]]
        checks = {certificate.check for certificate in self.certificates}
        edited = [] if self.claimed is None else disagreements(self.claimed, self.built)
        whole = names == self.subject.nodes and checks == set(range(1, 9))
        return whole and not edited, len(names), float(len(edited)), 0.0

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(certificate.passed for certificate in self.certificates)


def audit(
    name: str,
    recipe: Recipe,
    folder: Path,
    plan: Plan = QUICK,
    claimed: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> Audit:
    """Builds a circuit into `folder` (unless it is there), reads it back and runs all checks."""
    built = compile_circuit(recipe)
    if not (folder / "config.json").is_file():
        write_folder(built.weights, built.config, recipe.format, folder)
    return Audit(name, built, Subject.load(folder), Subject.load(folder, np.float32), plan, claimed, progress).run()


def truth_document(done: Audit, created: str, commit: str) -> dict[str, Any]:
    """The truth document of an audited circuit."""
    document = dict(done.document)
    document["certificates"] = [certificate.as_dict() for certificate in done.certificates]
    document["provenance"] = provenance(created, commit)
    return document
