"""`bench analyze path-patching`: which heads write the answer directly, and whether they are needed."""

from collections.abc import Iterator
from dataclasses import dataclass

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, PromptPair
from arithloc.benchmark.api.analysis import AnalysisInfo
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.report import Claim, Report, Section
from arithloc.benchmark.api.study import Study
from arithloc.methods.analyses.forms import Form, first_solved
from arithloc.methods.analyses.path_patching.attention import by_class
from arithloc.methods.analyses.path_patching.claims import (
    PAPER,
    attention_claims,
    geometry_claims,
    head_claims,
    knockout_claims,
    transfer_claims,
)
from arithloc.methods.analyses.path_patching.effects import DirectEffects, direct_effects
from arithloc.methods.analyses.path_patching.geometry import geometry
from arithloc.methods.analyses.path_patching.knockout import MATCHED, SIZES, TOP, knockout
from arithloc.methods.analyses.path_patching.pictures import attention_map, effect_section, head_table, mlp_table
from arithloc.methods.analyses.path_patching.receivers import SLOTS, received, receiver_section
from arithloc.methods.analyses.path_patching.transfer import (
    SPLITS,
    Target,
    Transfer,
    relative,
    targets_of,
    transfer,
    transfer_table,
)

RECEIVING = 3
"""Heads whose inputs are looked at."""
TITLES = {
    "operator_heads": "Operator removed, later MLPs recompute",
    "operator_all": "Operator removed, later MLPs frozen",
    "operands_heads": "Other operands, later MLPs recompute",
    "operands_all": "Other operands, later MLPs frozen",
}


@dataclass(frozen=True)
class PathPatchingAnalysis:
    """Head maps, knock-out, attention, receivers, MLP geometry and transfer.

    Attributes:
        ablation: what takes the place of knocked-out heads.
        draws: random sets of heads of each size.
        receiver_pairs: pairs behind the map of what the found heads read.
    """

    ablation: Ablation = Ablation.MEAN
    draws: int = 20
    receiver_pairs: int = 8

    info = AnalysisInfo(
        name="path-patching",
        summary="Which heads write the answer directly, and whether they are needed.",
        reference="arXiv:2409.01659",
        task="addition[shots=1]",
    )

    def run(self, study: Study) -> Report:
        """Finds heads on the discovery pairs, and tries them on the test pairs and elsewhere."""
        null = _kind(study, study.task, "operator_null")
        operands = _kind(study, study.task, "operands")
        main, kind = (null, "operator") if null.solved else (operands, "operands")
        tried = [*null.tried, *operands.tried]
        claims: list[Claim] = []
        sections: list[Section] = []
        if not main.solved:
            claims.append(
                Claim.untested(
                    "P1", "Fewer than 5 % of the heads write to the answer directly.", statistic="share of heads",
                    reason=main.reason, source=PAPER,
                )
            )  # fmt: skip
        else:
            found = dict(self._effects(study, {"operator": null, "operands": operands}, kind))
            transfers = list(self._analysed(study, main, found, claims, sections))
            tried += [sample for form in transfers for sample in form.tried]
        return Report(
            "path-patching",
            "Path patching of arithmetic",
            "Which heads write to the answer directly, are they needed, what do they read, and are they the same elsewhere?",
            tuple(claims),
            tuple(sections),
            tuple(tried),
        )

    def _effects(self, study: Study, kinds: dict[str, Form], first: str) -> Iterator[tuple[str, DirectEffects]]:
        """Direct effects by name, those of the main kind first."""
        for kind in sorted(kinds, key=lambda name: name != first):
            if kinds[kind].solved:
                pairs = kinds[kind].samples[0].pairs
                yield (
                    f"{kind}_heads",
                    direct_effects(study.model, pairs, "heads", study.phase(f"direct effects: {kind}")),
                )
                yield f"{kind}_all", direct_effects(study.model, pairs, "all", study.phase(f"direct effects, all frozen: {kind}"))  # fmt: skip

    def _analysed(
        self, study: Study, form: Form, found: dict[str, DirectEffects], claims: list[Claim], sections: list[Section]
    ) -> Iterator[Form]:
        """Everything about the found heads; adds claims and sections, gives the forms of the transfer targets."""
        model, names = study.model, list(found)
        main, frozen = found[names[0]], found[names[1]]
        discovery, test = (sample.pairs for sample in form.samples)
        k, n_heads = main.few(), main.heads.size
        heads = [int(index) for index in main.order[:k]]
        attention = by_class(discovery, engine.attention_weights(model, discovery, progress=study.phase("attention")))
        others = {name: one for name, one in found.items() if one is not main}
        effects = effect_section(model, found, TITLES)
        tables = (*effects.tables, head_table(model, main, others, attention), mlp_table(main, frozen))
        sections.append(Section(effects.title, effects.text, effects.pictures, tables))
        claims.extend(head_claims(main))

        out = knockout(
            model, main.order, sorted({*SIZES, k}), test, discovery, ablation=self.ablation, draws=self.draws, seed=study.seed,
            progress=study.phase("knock-out"),
        )  # fmt: skip
        claims.extend(knockout_claims(out, k, n_heads))
        curves = (
            out.curves("accuracy", "Answers that are the most likely token"),
            out.curves("accuracy_candidates", "Answers that lead among the candidates"),
            out.curves("logit_diff", "Logit difference"),
        )
        text = (
            f"The heads with the largest |s| on the discovery pairs are ablated ({self.ablation}) on {len(test)} test pairs, beside {self.draws} random sets of as many "
            "heads, and of as many heads in the same blocks."
        )
        sections.append(Section("Knock-out", text, curves))
        picture = attention_map(attention, heads, model)
        sections.append(Section("What the found heads attend to", "Mean over pairs; rows sum to 1.", (picture,)))
        claims.extend(attention_claims(attention, heads))
        sections.append(self._receivers(study, heads[:RECEIVING], discovery))
        shape = geometry(model, discovery, study.phase("MLP geometry"))
        claims.extend(geometry_claims(shape))
        if shape is not None:
            text = "Cosines with the unembedding rows of the operands and of the answer, without norms, and where the answer stands block by block."
            sections.append(Section("MLPs at the last position", text, shape.pictures()))
        moved = [
            (target, transfer(study, target, main, k, self.ablation, self.draws)) for target in targets_of(study.task)
        ]
        results: list[Transfer | tuple[Target, Form]] = [
            one if isinstance(one, Transfer) else (target, one) for target, one in moved
        ]
        claims.extend(transfer_claims(results, relative(out, TOP, k) - relative(out, MATCHED, k), k, n_heads))
        text = "The heads of the main task are ablated where something else is asked, and the heads of that are found anew."
        sections.append(Section("Transfer", text, (), (transfer_table(results, k, n_heads),)))
        for _, one in moved:
            yield one.form if isinstance(one, Transfer) else one

    def _receivers(self, study: Study, heads: list[int], pairs: tuple[PromptPair, ...]) -> Section:
        few = pairs[:: max(1, len(pairs) // self.receiver_pairs)][: self.receiver_pairs]
        return receiver_section(
            [received(study.model, heads, slot, few, study.phase(f"senders to {name}")) for slot, name in SLOTS.items()]
        )


def _kind(study: Study, task: Reference, kind: str) -> Form:
    return first_solved(study, (task.with_options({"kind": kind}),), SPLITS)
