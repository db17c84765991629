"""Slow, obvious versions of the engine's operations: one pair, one hook per place, one full forward per row.

They share no code with the engine: places are module paths, activations are tensors (pos, width) of one prompt.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arithloc.benchmark.api import SHOT, PromptPair
from arithloc.benchmark.engine import Readings
from arithloc.benchmark.models import SubjectModel

Place = tuple[str, int]
"""`residual`, `attention`, `mlp`, `head` (z, heads side by side) or `hidden`, and the layer."""
Change = Callable[[Tensor], Tensor]


def run(
    model: SubjectModel, ids: Sequence[int], changes: dict[Place, Change] | None = None
) -> tuple[dict[Place, Tensor], Tensor]:
    """All activations of one prompt after `changes`, and the logits at its last token."""
    return _run(model, ids, changes) if changes else _plain(model, tuple(ids))


@lru_cache(maxsize=256)
def _plain(model: SubjectModel, ids: tuple[int, ...]) -> tuple[dict[Place, Tensor], Tensor]:
    return _run(model, ids, {})


def _run(model: SubjectModel, ids: Sequence[int], changes: dict[Place, Change]) -> tuple[dict[Place, Tensor], Tensor]:
    acts: dict[Place, Tensor] = {}
    handles = []

    def on_input(place: Place, module: torch.nn.Module) -> None:
        def pre(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            value = args[0] if args else kwargs["hidden_states"]
            new = changes[place](value[0])[None] if place in changes else value
            acts[place] = new[0].clone()
            return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

        handles.append(module.register_forward_pre_hook(pre, with_kwargs=True))

    def on_output(place: Place, module: torch.nn.Module) -> None:
        def post(_: Any, __: Any, value: Tensor) -> Tensor:
            new = changes[place](value[0])[None] if place in changes else value
            acts[place] = new[0].clone()
            return new

        handles.append(module.register_forward_hook(post))

    a = model.anatomy
    for layer, block in enumerate(model.module.get_submodule(a.blocks).children()):
        on_input(("residual", layer), block)
        on_input(("head", layer), block.get_submodule(a.attention_output))
        on_output(("attention", layer), block.get_submodule(a.attention_write))
        on_input(("hidden", layer), block.get_submodule(a.mlp_down))
        on_output(("mlp", layer), block.get_submodule(a.mlp_write))
    on_input(("residual", layer + 1), model.module.get_submodule(a.final_norm))
    try:
        with torch.no_grad():
            logits = model.module(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0, -1]
    finally:
        for handle in handles:
            handle.remove()
    return acts, logits


def touched(pair: PromptPair, positions: str) -> list[int]:
    """Positions of a class; `all` is everything but exemplars, `last` the last token."""
    if positions == "last":
        return [len(pair.clean_ids) - 1]
    return [t for t, c in enumerate(pair.classes) if c != SHOT and positions in ("all", c)]


def swap(donor: Tensor, rows: Sequence[int], columns: slice = slice(None)) -> Change:
    """Takes some positions and columns of an activation from `donor`."""

    def change(value: Tensor) -> Tensor:
        value = value.clone()
        for t in rows:
            value[t, columns] = donor[t, columns]
        return value

    return change


def columns_of(model: SubjectModel, kind: str, index: int | None) -> slice:
    """Columns of one head, hidden unit or coordinate."""
    if index is None:
        return slice(None)
    size = model.shape.d_head if kind == "head" else 1
    return slice(index * size, (index + 1) * size)


def sweep_one(
    model: SubjectModel,
    pair: PromptPair,
    place: Place,
    index: int | None,
    positions: str,
    run_ids: Sequence[int],
    donor: dict[Place, Tensor],
) -> Tensor:
    """Logits with one site replaced."""
    change = swap(donor[place], touched(pair, positions), columns_of(model, place[0], index))
    return run(model, run_ids, {place: change})[1]


def mean_activations(model: SubjectModel, pair: PromptPair, reference: Sequence[PromptPair]) -> dict[Place, Tensor]:
    """Mean activations for the tokens of `pair`, by (frame, class, offset), else by class."""

    def keys(p: PromptPair) -> list[tuple[str, str, int]]:
        return [(p.frame, c, t - p.classes.index(c)) for t, c in enumerate(p.classes)]

    runs = [(keys(p), run(model, p.counterfactual_ids)[0]) for p in reference]
    means: dict[Place, list[Tensor]] = {}
    for key in keys(pair):
        exact = [(acts, t) for known, acts in runs for t, k in enumerate(known) if k == key]
        cls = [(acts, t) for known, acts in runs for t, k in enumerate(known) if k[1] == key[1]]
        found = exact or cls
        for place in found[0][0]:
            means.setdefault(place, []).append(torch.stack([acts[place][t] for acts, t in found]).mean(0))
    return {place: torch.stack(rows) for place, rows in means.items()}


def circuit_one(
    model: SubjectModel,
    pair: PromptPair,
    out: dict[tuple[str, int, int | None], set[str]],
    donor: dict[Place, Tensor],
) -> Tensor:
    """Logits of the clean prompt with some sites taken from `donor`.

    Args:
        out: for each (kind, layer, index) the position classes (or `all`) at which it is ablated.
    """
    swaps: dict[Place, list[Change]] = {}
    for (kind, layer, index), classes in out.items():
        for cls in classes:
            change = swap(donor[kind, layer], touched(pair, cls), columns_of(model, kind, index))
            swaps.setdefault((kind, layer), []).append(change)

    def chain(steps: list[Change]) -> Change:
        def change(value: Tensor) -> Tensor:
            for step in steps:
                value = step(value)
            return value

        return change

    return run(model, pair.clean_ids, {place: chain(steps) for place, steps in swaps.items()})[1]


def direct_one(
    model: SubjectModel,
    run_ids: Sequence[int],
    donor: dict[Place, Tensor],
    senders: Sequence[tuple[str, int, int | None]],
    frozen: str,
) -> Tensor:
    """Logits with `senders` at the last position taken from `donor` and all other paths cut: three-pass form.

    All heads are held at the values of the run, MLPs too for `all`; then the senders are put in.
    """
    held = run(model, run_ids)[0]
    last = [len(run_ids) - 1]
    changes: dict[Place, Change] = {}
    for layer in range(model.shape.n_layers):
        value = held["head", layer].clone()
        for kind, where, index in senders:
            if where == layer and kind in ("head", "attention"):
                value = swap(donor["head", layer], last, columns_of(model, "head", index))(value)
        changes["head", layer] = lambda _, v=value: v
        if ("mlp", layer, None) in senders:
            base = held["mlp", layer]
            changes["mlp", layer] = lambda x, b=base, d=donor["mlp", layer]: swap(d, last)(b if frozen == "all" else x)
        elif frozen == "all":
            changes["mlp", layer] = lambda _, v=held["mlp", layer]: v
    return run(model, run_ids, changes)[1]


def readings_of(model: SubjectModel, pair: PromptPair, logits: Tensor) -> dict[str, float]:
    """Every field of `Readings` for one row and pair, from its logits."""
    clean = run(model, pair.clean_ids)[1].double()
    logits = logits.double()
    log_p, log_q = clean.log_softmax(-1), logits.log_softmax(-1)
    return {
        "answer": float(logits[pair.answer_token]),
        "foil": float(logits[pair.foil_token]),
        "logprob_answer": float(log_q[pair.answer_token]),
        "logprob_foil": float(log_q[pair.foil_token]),
        "top": int(logits.argmax()),
        "top_logit": float(logits.max()),
        "top_candidate": max(pair.candidates, key=lambda token: float(logits[token])),
        "kl": float((log_p.exp() * (log_p - log_q)).sum()),
    }


def assert_equal(
    found: Readings, row: tuple[int, ...], pair: int, expected: dict[str, float], dtype: torch.dtype
) -> None:
    """Compares one row and pair: 1e-9 relative to the logits' size in float64, 1e-4 in float32."""
    bound = 1e-9 if dtype == torch.float64 else 1e-4
    scale = max(1.0, abs(expected["top_logit"]))
    for name, value in expected.items():
        got = getattr(found, name)[(*row, pair)]
        if name in ("top", "top_candidate"):
            assert got == value, f"{name} of row {row}, pair {pair}: {got}, expected {value}"
        else:
            assert np.isclose(got, value, rtol=0, atol=bound * scale), (
                f"{name} of row {row}, pair {pair}: {got}, expected {value}"
            )


def edges_one(
    model: SubjectModel,
    pair: PromptPair,
    kept: Callable[[str, int], bool],
    donor: dict[Place, Tensor],
) -> Tensor:
    """Logits of the clean prompt with edges cut, receiver by receiver, every sender written out at full width.

    Args:
        kept: whether an edge (its name, `a0.h1->m1`) is kept at a token.
        donor: activations that cut edges read instead.
    """
    s, a, n = model.shape, model.anatomy, len(pair.clean_ids)
    clean, own = run(model, pair.clean_ids)[0], touched(pair, "all")
    blocks = list(model.module.get_submodule(a.blocks).children())
    donor = {place: swap(value, own)(clean[place]) for place, value in donor.items()}  # exemplars stay clean

    def heads(z: Tensor, layer: int) -> dict[str, Tensor]:
        by_head = z.unflatten(-1, (s.n_heads, s.d_head))
        return {f"a{layer}.h{h}": by_head[:, h] @ model.output_weight(layer)[h] for h in range(s.n_heads)}

    current, other = {"input": clean["residual", 0]}, {"input": donor["residual", 0]}
    stream = donor["residual", 0]

    def read(receiver: str) -> Tensor:
        value = stream.clone()
        for sender, write in current.items():
            for t in range(n):
                if t not in own or kept(f"{sender}->{receiver}", t):
                    value[t] += write[t] - other[sender][t]
        return value

    for layer, block in enumerate(blocks):
        norm = block.get_submodule(a.input_norm) if a.input_norm else torch.nn.Identity()
        modules = [block.get_submodule(path) for path in a.qkv]
        outputs = [torch.zeros_like(module(norm(stream)[None])) for module in modules]
        for which in "qkv":
            for head in range(s.n_heads if which == "q" else s.n_kv_heads):
                x = norm(read(f"a{layer}.h{head}<{which}>"))[None]
                results = [module(x) for module in modules]
                if len(modules) == 3:
                    place, start = "qkv".index(which), head * s.d_head
                elif a.layout.value == "interleaved":
                    place, start = 0, (3 * head + "qkv".index(which)) * s.d_head
                else:
                    before = {"q": 0, "k": s.n_heads, "v": s.n_heads + s.n_kv_heads}[which]
                    place, start = 0, (before + head) * s.d_head
                outputs[place][..., start : start + s.d_head] = results[place][..., start : start + s.d_head]
        handles = [m.register_forward_hook(lambda *_, o=o: o) for m, o in zip(modules, outputs, strict=True)]
        try:
            z = run(model, pair.clean_ids, {("residual", 0): lambda value: value})[0]["head", layer]
        finally:
            for handle in handles:
                handle.remove()
        before_mlp = read(f"m{layer}")
        current |= heads(z, layer)
        other |= heads(donor["head", layer], layer)
        attended = block.get_submodule(a.attention_output)(donor["head", layer])
        if not s.parallel:
            stream = stream + attended
            before_mlp = read(f"m{layer}")
        mlp_norm = a.mlp_norm or (a.input_norm if s.parallel else None)
        normed = block.get_submodule(mlp_norm)(before_mlp) if mlp_norm else before_mlp
        current[f"m{layer}"] = block.get_submodule(a.mlp)(normed[None])[0]
        other[f"m{layer}"] = donor["mlp", layer]
        stream = stream + donor["mlp", layer] + (attended if s.parallel else 0)
    return model.logits(read("logits")[-1])


def receivers_one(
    model: SubjectModel,
    run_ids: Sequence[int],
    donor: dict[Place, Tensor],
    sender: tuple[str, int, int | None],
    rows: Sequence[int],
    receivers: Sequence[tuple[torch.nn.Module, slice]],
    frozen: str,
) -> Tensor:
    """Logits when receivers alone see one sender's change, in three full passes.

    Args:
        rows: positions at which the sender is replaced.
        receivers: modules, in the order in which they run, and the columns of their output that are carried over from
            the pass with frozen paths.
    """
    held = run(model, run_ids)[0]
    changes: dict[Place, Change] = {}
    for layer in range(model.shape.n_layers):
        changes["head", layer] = lambda _, v=held["head", layer]: v
        if frozen == "all":
            changes["mlp", layer] = lambda _, v=held["mlp", layer]: v
    kind, layer, index = sender
    if kind == "head":
        value = swap(donor["head", layer], rows, columns_of(model, "head", index))(held["head", layer])
        changes["head", layer] = lambda _: value
    else:
        base = held["mlp", layer]
        changes["mlp", layer] = lambda x: swap(donor["mlp", layer], rows)(base if frozen == "all" else x)
    carried: list[Tensor] = []
    handles = [module.register_forward_hook(lambda *a: carried.append(a[2].clone())) for module, _ in receivers]
    run(model, run_ids, changes)
    for handle in handles:
        handle.remove()

    def put(value: Tensor, new: Tensor, columns: slice) -> Tensor:
        value = value.clone()
        value[..., columns] = new[..., columns]
        return value

    handles = [
        module.register_forward_hook(lambda *a, n=new, c=columns: put(a[2], n, c))
        for (module, columns), new in zip(receivers, carried, strict=True)
    ]
    try:
        return _run(model, run_ids, {})[1]
    finally:
        for handle in handles:
            handle.remove()
