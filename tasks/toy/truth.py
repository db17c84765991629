"""Truth documents: what is known about a compiled circuit, as plain JSON values."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from arithloc.tasks.toy.compiled import Compiled
from arithloc.tasks.toy.formats import VOCAB, Format
from arithloc.tasks.toy.labels import count_edges, edge_labels, node_labels, role_ids, role_neurons
from arithloc.tasks.toy.recipe import GENERATOR_VERSION, Recipe
from arithloc.tasks.toy.swaps import variables

SCHEMA = 1
PACKAGES = ("numpy", "safetensors", "scipy")
OUT_DLOGIT = 0.01
MEANINGS = {"carry": "majority", "cancel": "cancel"}


def stressors(recipe: Recipe) -> list[str]:
    """Names of a recipe's difficulties."""
    return [f"stress{recipe.stressor}"] if recipe.stressor else []


def structure(name: str, built: Compiled) -> dict[str, Any]:
    """All that follows from the recipe alone: labels without measurements.

    Nodes, edges and variables get their measured values, and the document its certificates, from an audit.
    """
    recipe, form = built.recipe, built.recipe.format
    return {
        "schema": SCHEMA,
        "id": name,
        "tier": "A",
        "stressors": stressors(recipe),
        "generator": {
            "name": "compiled",
            "version": GENERATOR_VERSION,
            "recipe": recipe.as_dict(),
            "recipe_sha256": recipe.sha256,
        },
        "model": {
            "architecture": "GPT2LMHeadModel",
            "config": built.config,
            "parameters": built.n_parameters,
            "weights_sha256": None,
            "dtype_min": "float32",
        },
        **question_part(form),
        "tolerance": {"flip": 0.0, "dlogit": OUT_DLOGIT},
        "variables": _variables(built),
        "nodes": _nodes(built),
        "neurons": _neurons(built),
        "edges": _edges(built),
        "groups": _groups(built),
    }


def question_part(form: Format) -> dict[str, Any]:
    """The part of a document that says what is asked: format, distribution and ablation."""
    return {
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
    }


def _variables(built: Compiled) -> list[dict[str, Any]]:
    recipe, ids = built.recipe, role_ids(built)
    classes = {role.name: role.classes for role in built.program.roles}
    return [
        {
            "name": v.name,
            "definition": v.definition,
            "values": list(v.values),
            "sites": [f"{ids[role]}@{cls}" for role in v.roles for cls in classes[role]],
        }
        for v in variables(recipe.variant, recipe.stressor, recipe.subtracts)
    ]


def _nodes(built: Compiled) -> list[dict[str, Any]]:
    return [
        {
            "id": node,
            "layer": label.layer,
            "kind": "mlp" if label.head is None else "head",
            "head": label.head,
            "role": label.role,
            "label": label.label,
            "group": label.group,
            "quorum": label.quorum,
            "classes": label.classes,
        }
        for node, label in node_labels(built).items()
    ]


def _neurons(built: Compiled) -> list[dict[str, Any]]:
    roles, found = role_neurons(built), []
    for layer in range(built.recipe.n_layers):
        for unit in range(built.recipe.n_inner):
            name = f"m{layer}.n{unit}"
            role, neuron = roles.get(name, (None, None))
            found.append({"id": name, "role": role, "label": neuron.label if neuron else "out"})
    return found


def _edges(built: Compiled) -> list[dict[str, Any]]:
    return [
        {
            "sender": edge.sender,
            "receiver": edge.receiver,
            "slot": edge.slot,
            "label": label.label,
            "group": label.group,
            "quorum": label.quorum,
        }
        for edge, label in edge_labels(built).items()
    ]


def _groups(built: Compiled) -> list[dict[str, Any]]:
    """Groups of nodes, and those of the edges at them."""
    ids = role_ids(built)
    members = [(role.group, role.quorum, ids[role.name]) for role in built.program.heads]
    members += [(label.group, label.quorum, edge.name) for edge, label in edge_labels(built).items()]
    found: dict[str, dict[str, Any]] = {}
    for group, quorum, member in members:
        if group:
            row = {"name": group, "members": [], "quorum": quorum or 0, "meaning": MEANINGS[group.split(".")[0]]}
            found.setdefault(group, row)["members"].append(member)
    return list(found.values())


MEASURED = frozenset({"effect", "flip", "dlogit", "max_flip", "max_dlogit", "iia"})
"""Keys of a document's rows that hold what an audit measured, not what is claimed."""


def disagreements(document: Mapping[str, Any], built: Compiled) -> list[str]:
    """Keys of a truth document that differ from what its recipe says, measurements aside."""
    expected = json.loads(json.dumps(structure(str(document["id"]), built)))
    return [key for key, value in expected.items() if claims(document.get(key)) != claims(value)]


def claims(value: Any) -> Any:
    """A part of a document without what was measured."""
    if isinstance(value, dict):
        return {key: claims(v) for key, v in value.items() if key not in MEASURED}
    return [claims(v) for v in value] if isinstance(value, list) else value


def provenance(created: str, commit: str) -> dict[str, Any]:
    """Who made a document: time (UTC, ISO 8601), code version and commit, package versions."""
    return {
        "created": created,
        "code_version": version("arithloc"),
        "commit": commit,
        "packages": {name: version(name) for name in PACKAGES},
    }


def edges_out(built: Compiled, listed: int, max_flip: float, max_dlogit: float) -> Mapping[str, Any]:
    """Summary of the edges that are not listed one by one."""
    count = count_edges(built.recipe.n_layers, built.recipe.n_heads) - listed
    return {"count": count, "max_flip": max_flip, "max_dlogit": max_dlogit}
