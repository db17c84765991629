"""`bench toy`: pictures of toy models: their proven circuits, and maps of any model that answers their questions."""

from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import typer
from rich.console import Console

from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Problem, Scores, Split, UnsupportedGranularity
from arithloc.benchmark.api.errors import BadOption, MissingExtra, UnknownName, UsageError, quoted
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import methods, model_sources, tasks
from arithloc.benchmark.metrics.truth_document import read_truth_document
from arithloc.benchmark.metrics.truth_drawing import circuit_svg

app = typer.Typer(help="Draw toy models: proven circuits, and maps of what a method finds.", no_args_is_help=True)

PNG_SCALE = 2


@app.command("draw")
def draw(
    name: Annotated[str, typer.Argument(help="Toy model: see 'bench models list'.")],
    out: Annotated[Path | None, typer.Option(help="File, .svg or .png; NAME.svg in this folder by default.")] = None,
) -> int:
    """Draw a proven circuit: its roles and edges, with everything outside it grey."""
    target = picture_file(out, name)
    sources = model_sources()
    if name not in sources:
        raise UnknownName.among("model", name, sources)
    document = sources[name].truth()
    if document is None:
        raise UsageError(
            f"Expected a model with a proven circuit, found {quoted(name)}. See 'bench models list' for the toys."
        )
    svg = circuit_svg(read_truth_document(document))
    save(svg, target, name)
    return 0


@runtime_checkable
class Tagging(Protocol):
    """A method that can also say what it takes a component to do."""

    def tagged(self, problem: Problem) -> tuple[Scores, dict[str, str]]:
        """Scores by position class, and a short text for some of the components."""
        ...


@app.command("map")
def draw_map(
    model: Annotated[str, typer.Argument(help="Toy model, or a folder or Hugging Face id of one in the same format.")],
    method: Annotated[str, typer.Option(help="Method that scores nodes: name[field=value,...].")] = "useful-nodes",
    pairs: Annotated[int, typer.Option(min=1, help="Discovery pairs.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of pairs and method.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, mps, cuda or cuda:N.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="File, .svg or .png; NAME-map.svg in this folder by default.")
    ] = None,
) -> int:
    """Draw what a method finds, node by position; the proven circuit is outlined where there is one."""
    import numpy as np

    from arithloc.benchmark.cli.progress import counting
    from arithloc.benchmark.metrics.map_drawing import map_svg
    from arithloc.benchmark.models.loading import load
    from arithloc.benchmark.runner.choices import instantiate

    reference = Reference.parse(method)
    plugin, chosen = instantiate(methods, reference)
    if not plugin.target.info.supports(Granularity.NODE):
        raise UnsupportedGranularity(f"Expected a method that scores nodes, found {quoted(method)}. Try useful-nodes.")
    subject = load(model, device=device)
    target = picture_file(out, f"{subject.name.replace('/', '-')}-map")
    asked = tasks.get("toy-arith").target().pairs(subject.tokenizer, Split.DISCOVERY, pairs, seed)
    classes = max(asked, key=lambda pair: pair.n_tokens).classes
    space = ComponentSpace(Granularity.NODE, subject.shape, classes)
    with counting(f"{method} on {subject.name}") as progress:
        rng = np.random.default_rng(seed)
        problem = Problem(subject, asked, space, "logit_diff", Ablation.COUNTERFACTUAL, seed, rng, progress)
        scores, tags = chosen.tagged(problem) if isinstance(chosen, Tagging) else (chosen.localize(problem), {})
    save(map_svg(scores, f"{subject.name}: {reference.label}", tags=tags, proven=proven_sites(model)), target, model)
    return 0


def proven_sites(model: str) -> list[str] | None:
    """Nodes and position classes of the circuit of a registered model; None where none is known."""
    source = model_sources().get(model)
    document = source.truth() if source else None
    if document is None:
        return None
    nodes = read_truth_document(document).nodes
    return [f"{node.id}@{cls}" for node in nodes for cls, label in node.classes.items() if label == "in"]


def picture_file(out: Path | None, name: str) -> Path:
    """Where a picture goes.

    Raises:
        BadOption: neither SVG nor PNG.
    """
    target = out or Path(f"{name}.svg")
    if target.suffix not in (".svg", ".png"):
        raise BadOption(
            f"Expected a file that ends in .svg or .png, found {quoted(str(target))}. Example: --out {name}.svg."
        )
    return target


def save(svg: str, target: Path, name: str) -> None:
    """Writes a picture and says where it is."""
    content = svg.encode() if target.suffix == ".svg" else png(svg)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    Console(highlight=False).print(f"{name}: {target}", markup=False, soft_wrap=True)


def png(svg: str) -> bytes:
    """An SVG document as PNG.

    Raises:
        MissingExtra: the converter is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise MissingExtra.named("docs", "A picture as PNG") from error
    return bytes(vl_convert.svg_to_png(svg, scale=PNG_SCALE))
