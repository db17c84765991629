"""Where a report comes from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.provenance import environment
from arithloc.benchmark.storage.records import Environment
from arithloc.benchmark.storage.text import now


@dataclass(frozen=True)
class Provenance:
    """What it takes to make a report again.

    Attributes:
        command: the command line.
        analysis: the analysis with its options.
        options: all its options, defaults included.
        model: what `--model` was given.
        revision: commit of its hub repository, or empty.
        weights_hash: hash of its weights.
        task: task reference.
        limit: pairs drawn of each task and split.
        seed: of the pairs and of everything drawn at random.
        device, dtype: where and in which type it was run.
        created: time of the end of the run, UTC.
        seconds: wall time of the analysis, loading excluded.
        environment: versions, processor, commit.
    """

    command: str
    analysis: str
    options: Mapping[str, Any]
    model: str
    revision: str
    weights_hash: str
    task: str
    limit: int
    seed: int
    device: str
    dtype: str
    created: str
    seconds: float
    environment: Environment

    @classmethod
    def of(
        cls,
        model: SubjectModel,
        *,
        command: str,
        analysis: str,
        options: Mapping[str, Any],
        task: str,
        limit: int,
        seed: int,
        seconds: float,
    ) -> "Provenance":
        """Describes this process and a loaded model."""
        return cls(
            command=command,
            analysis=analysis,
            options=options,
            model=model.name,
            revision=model.identity.revision,
            weights_hash=model.identity.weights_hash,
            task=task,
            limit=limit,
            seed=seed,
            device=str(model.device),
            dtype=str(model.dtype).removeprefix("torch."),
            created=now(),
            seconds=seconds,
            environment=environment(),
        )

    def facts(self) -> list[tuple[str, str]]:
        """What a page shows: names and values."""
        where = self.environment
        commit = where.code_commit[:12] + (", with changes" if where.code_dirty else "") if where.code_commit else ""
        versions = ", ".join(
            f"{name} {where.packages[name]}" for name in ("torch", "transformers", "numpy") if name in where.packages
        )
        return [
            ("Command", self.command),
            ("Model", f"{self.model}{f', revision {self.revision}' if self.revision else ''}"),
            ("Weights", f"SHA-256 {self.weights_hash}"),
            ("Task", self.task),
            ("Pairs", f"{self.limit} drawn of each task and split"),
            ("Seed", str(self.seed)),
            ("Run on", f"{self.device}, {self.dtype}, {where.gpu if self.device.startswith('cuda') else where.cpu}"),
            ("Made", f"{self.created}, {self.seconds:.0f} s"),
            ("Versions", f"arithloc {where.code_version}{f' ({commit})' if commit else ''}, Python {where.python}, {versions}"),
        ]  # fmt: skip

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
