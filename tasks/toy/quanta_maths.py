"""The published n-digit models of Quirke, Neo and Barez as folders that `AutoModelForCausalLM` loads.

    python -m arithloc.tasks.toy.quanta_maths add_d5_l2_h3_t15K_s372001 FOLDER

Weights come from the Hugging Face repository `PhilipQuirke/QuantaMaths_<name>`, or from a file with `--file`. They are
TransformerLens weights of a model of width 510 with an unembedding bias; the conversion to a stock GPT-2 is exact up to
rounding: all written rows are centred (LayerNorm takes no notice), the stream is padded with zeros to a multiple of the
heads' width, gains and epsilon of LayerNorm are scaled to match, and the bias is folded into the last LayerNorm.
Reference: arXiv:2402.02619.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.tasks.toy.export import write_folder
from arithloc.tasks.toy.formats import Format

OWNER = "PhilipQuirke/QuantaMaths_"
FILE = "model.pth"
EPSILON = 1e-5
OPERATORS = {"add": "+", "sub": "-", "mix": "+-"}
BUFFERS = (".mask", ".IGNORE")
Array = Float[ndarray, "..."]


@dataclass(frozen=True)
class Published:
    """What a published model's name says.

    Attributes:
        operators: `+`, `-` or `+-`.
        n_digits: digits of an operand.
        n_layers: blocks.
        n_heads: heads of a block.
    """

    operators: str
    n_digits: int
    n_layers: int
    n_heads: int

    @classmethod
    def parse(cls, name: str) -> "Published":
        """Reads a name such as `ins1_mix_d6_l3_h4_t40K_s372001`.

        Raises:
            ValueError: not a name of this kind.
        """
        found = re.fullmatch(r"(?:ins\d+_)?(add|sub|mix)_d(\d+)_l(\d+)_h(\d+)_t\d+K(?:_gf)?_s\d+", name)
        if not found:
            raise ValueError(f"Expected a name such as add_d5_l2_h3_t15K_s372001, found {name!r}.")
        return cls(OPERATORS[found[1]], int(found[2]), int(found[3]), int(found[4]))


def converted(state: Mapping[str, Array], published: Published) -> tuple[dict[str, Array], dict[str, Any]]:
    """Weights and configuration of the stock GPT-2 that computes the same logits.

    Args:
        state: TransformerLens weights by name, in any precision; masks and other buffers are ignored.
        published: shape of the model.

    Returns: arrays by state-dict name, float64, and the contents of `config.json`.
    """
    given = {name: np.asarray(a, dtype=np.float64) for name, a in state.items() if not name.endswith(BUFFERS)}
    d = given["embed.W_E"].shape[1]
    d_head = given["blocks.0.attn.W_Q"].shape[2]
    width = published.n_heads * d_head
    gain = np.sqrt(d / width)

    def written(rows: Array) -> Array:
        centred = rows - rows.mean(axis=-1, keepdims=True)
        return np.pad(centred, [(0, 0)] * (rows.ndim - 1) + [(0, width - d)])

    def read(columns: Array) -> Array:
        return np.pad(columns, [(0, width - d), (0, 0)])

    def norm(name: str) -> tuple[Array, Array]:
        weight, bias = given[f"{name}.w"] * gain, given[f"{name}.b"]
        return np.pad(weight, (0, width - d)), np.pad(bias, (0, width - d))

    weights = {
        "transformer.wte.weight": written(given["embed.W_E"]),
        "transformer.wpe.weight": written(given["pos_embed.W_pos"]),
    }
    for layer in range(published.n_layers):
        own, name = f"blocks.{layer}", f"transformer.h.{layer}"
        weights[f"{name}.ln_1.weight"], weights[f"{name}.ln_1.bias"] = norm(f"{own}.ln1")
        weights[f"{name}.ln_2.weight"], weights[f"{name}.ln_2.bias"] = norm(f"{own}.ln2")
        # per head (d, d_head) side by side: queries of all heads, then keys, then values
        slots = [np.concatenate(list(given[f"{own}.attn.W_{slot}"]), axis=1) for slot in "QKV"]
        weights[f"{name}.attn.c_attn.weight"] = read(np.concatenate(slots, axis=1))
        weights[f"{name}.attn.c_attn.bias"] = np.concatenate([given[f"{own}.attn.b_{slot}"].ravel() for slot in "QKV"])
        weights[f"{name}.attn.c_proj.weight"] = written(np.concatenate(list(given[f"{own}.attn.W_O"])))
        weights[f"{name}.attn.c_proj.bias"] = written(given[f"{own}.attn.b_O"])
        weights[f"{name}.mlp.c_fc.weight"] = read(given[f"{own}.mlp.W_in"])
        weights[f"{name}.mlp.c_fc.bias"] = given[f"{own}.mlp.b_in"]
        weights[f"{name}.mlp.c_proj.weight"] = written(given[f"{own}.mlp.W_out"])
        weights[f"{name}.mlp.c_proj.bias"] = written(given[f"{own}.mlp.b_out"])
    last_gain, last_bias = norm("ln_final")
    unembed = read(given["unembed.W_U"])
    # beta with W_U^T beta = b_U: as many equations as tokens, so it is exact
    folded = np.linalg.lstsq(unembed.T, given["unembed.b_U"], rcond=None)[0]
    weights["transformer.ln_f.weight"], weights["transformer.ln_f.bias"] = last_gain, last_bias + folded
    weights["lm_head.weight"] = unembed.T
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "relu",
        "n_layer": published.n_layers,
        "n_head": published.n_heads,
        "n_embd": width,
        "n_inner": given["blocks.0.mlp.W_in"].shape[1],
        "n_positions": given["pos_embed.W_pos"].shape[0],
        "vocab_size": given["embed.W_E"].shape[0],
        "layer_norm_epsilon": EPSILON * d / width,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": "float32",
    }
    return weights, config


def state_of(path: Path) -> dict[str, Array]:
    """Arrays of a `.pth` file; nothing but tensors is unpickled."""
    import torch

    loaded = torch.load(path, map_location="cpu", weights_only=True)
    tensors = loaded["model"] if "model" in loaded else loaded
    return {name: tensor.double().numpy() for name, tensor in tensors.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetches and converts one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="as add_d5_l2_h3_t15K_s372001")
    parser.add_argument("folder", type=Path, help="receives the model; must not exist")
    parser.add_argument("--file", type=Path, help="weights that are here already, instead of the hub's")
    parser.add_argument("--revision", help="commit of the hub repository")
    given = parser.parse_args(arguments)
    published = Published.parse(given.name)
    if given.folder.exists():
        parser.error(f"{given.folder} is there already; name a new folder")
    path = given.file
    if path is None:
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(OWNER + given.name, FILE, revision=given.revision))
    weights, config = converted(state_of(path), published)
    write_folder(weights, config, Format(published.n_digits, published.operators, bos=False), given.folder)
    sys.stderr.write(f"{given.name}: {given.folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
