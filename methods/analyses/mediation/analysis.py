"""`bench analyze mediation`: which modules carry operands and result, by patching one at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from arithloc.benchmark.api.analysis import AnalysisInfo
from arithloc.benchmark.api.report import Claim, Report, Section, Table
from arithloc.benchmark.api.study import Study
from arithloc.benchmark.engine import SiteKind
from arithloc.methods.analyses.forms import Form
from arithloc.methods.analyses.mediation.claims import (
    map_claims,
    overlap_claims,
    prediction_claims,
)
from arithloc.methods.analyses.mediation.coordinates import SHARE, PartEffects, overlap, overlap_table, part_effects
from arithloc.methods.analyses.mediation.designs import Chosen, choose, designs_of
from arithloc.methods.analyses.mediation.maps import MLP, ModuleMap, module_map, node_map, random_donors
from arithloc.methods.analyses.mediation.pictures import (
    importance_section,
    map_section,
    node_section,
    random_donor_section,
)
from arithloc.methods.analyses.mediation.predictions import prediction_curves, prediction_table, predictions

COMPARED = ("operands", "words", "retrieval", "factual")
"""Designs whose coordinates are compared; the first with all others."""


@dataclass(frozen=True)
class MediationAnalysis:
    """Maps, relative importance, coordinates and prediction changes of all designs that the model solves.

    Attributes:
        coordinate_pairs: pairs behind the effects of single coordinates and hidden units.
    """

    coordinate_pairs: int = 16

    info = AnalysisInfo(
        name="mediation",
        summary="Which modules carry operands and result, by patching.",
        reference="arXiv:2305.15054",
        task="addition[shots=1]",
    )

    def run(self, study: Study) -> Report:
        """Runs every experiment that the model allows."""
        designs = [choose(study, design) for design in designs_of(study.task)]
        chosen = {one.design.id: one for one in designs}
        maps: dict[str, ModuleMap | Form] = {
            name: module_map(study.model, one, study.phase(f"map: {name}")) if one.form.solved else one.form
            for name, one in chosen.items()
        }
        claims = list(map_claims(maps))
        solved = [(found, chosen[name].sample.task) for name, found in maps.items() if isinstance(found, ModuleMap)]
        sections = [importance_section(solved)] if solved else []
        sections += [map_section(found, task) for found, task in solved]
        main = maps["operands"]
        if isinstance(main, ModuleMap):
            sections += list(self._details(study, chosen, main, claims))
        samples = tuple(sample for one in designs for sample in one.form.tried)
        return Report(
            "mediation",
            "Causal mediation of arithmetic",
            "Which attention and MLP blocks carry the operands, the operator and the result to the answer?",
            tuple(claims),
            tuple(sections),
            samples,
        )

    def _details(
        self, study: Study, chosen: dict[str, Chosen], main: ModuleMap, claims: list[Claim]
    ) -> Iterator[Section]:
        """Heads, random donors, coordinates and prediction changes; adds their claims."""
        one = chosen["operands"]
        nodes = [
            (
                f"nodes_{name}",
                title,
                node_map(study.model, one, main.before, positions, study.phase(f"heads and MLPs: {name}")),
            )
            for name, title, positions in (
                ("last", "Patched at the last position", "last"),
                ("all", "Patched at all positions", "all"),
            )
        ]
        yield node_section(nodes)
        study.phase("random donors")
        other, has = random_donors(study.model, one, study.seed)
        if has.any():
            yield random_donor_section(main, other, has)
        changes = predictions(main)
        claims.extend(prediction_claims(changes, main.n_layers))
        text = "What patching a last-position MLP does to the number that the counterfactual prompt is answered with."
        yield Section("Prediction changes", text, (prediction_curves(changes),), (prediction_table(changes),))
        yield self._coordinates(study, chosen, main, claims)

    def _coordinates(self, study: Study, chosen: dict[str, Chosen], main: ModuleMap, claims: list[Claim]) -> Section:
        layer = int(np.argmax(main.signed.value[:, MLP, main.last]))
        solved = [chosen[name] for name in COMPARED if chosen[name].form.solved]
        tables: list[Table] = []
        for kind, label in ((SiteKind.MLP, "output_coordinates"), (SiteKind.HIDDEN, "hidden_units")):
            parts = [
                part_effects(
                    study.model,
                    one,
                    layer,
                    kind,
                    self.coordinate_pairs,
                    study.phase(f"{label.replace('_', ' ')}: {one.design.id}"),
                )
                for one in solved
            ]
            title = f"{label.replace('_', ' ').capitalize()} of the MLP of block {layer} at the last position"
            tables.append(overlap_table(parts, label, title))
            if kind is SiteKind.MLP:
                claims.extend(_overlaps(parts))
        text = (
            f"The last-position MLP with the largest effect is that of block {layer}. Each of its parts is patched alone; compared are the parts with the largest mean "
            "indirect effect. Two halves of one design, which share no operand pair, show how well the list is known at all."
        )
        return Section("Coordinates of the key MLP", text, (), tuple(tables))


def _overlaps(parts: Sequence[PartEffects]) -> Iterator[Claim]:
    own = parts[0]
    size = own.ie.shape[0]
    k = max(1, round(SHARE * size))
    found = {part.design: overlap(own.means, part.means, k) for part in parts[1:]}
    words = found.pop("words", None)
    return overlap_claims(words, found, k / size)
