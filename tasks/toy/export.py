"""A compiled model as a folder that `AutoModelForCausalLM` and `AutoTokenizer` load."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from arithloc.tasks.toy.assembly import EPSILON, Assembly, Weights
from arithloc.tasks.toy.formats import BOS, VOCAB, Format, tokenizer_documents


def config_document(build: Assembly) -> dict[str, Any]:
    """Contents of `config.json` of a stock GPT-2 with neutral LayerNorm.

    `attn_implementation` is eager because fused attention rounds differently; `arithloc_dtype_min` says that half
    precision cannot hold the weights (the LayerNorm epsilon of 1e12 is infinite in float16).
    """
    recipe = build.recipe
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "relu",
        "n_layer": recipe.n_layers,
        "n_head": recipe.n_heads,
        "n_embd": build.d_model,
        "n_inner": recipe.n_inner,
        "n_positions": recipe.format.n_inputs + 1,
        "vocab_size": len(VOCAB),
        "layer_norm_epsilon": EPSILON,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "scale_attn_weights": True,
        "tie_word_embeddings": False,
        "bos_token_id": BOS,
        "eos_token_id": BOS,
        "dtype": "float32",
        "attn_implementation": "eager",
        "arithloc_dtype_min": "float32",
    }


def write_folder(weights: Weights, config: dict[str, Any], form: Format, folder: Path) -> Path:
    """Writes weights (as float32), configuration and tokenizer; the folder appears whole or not at all.

    Returns: `folder`; what another process wrote there meanwhile is kept.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in weights.items()}
        save_file(arrays, building / "model.safetensors", metadata={"format": "pt"})
        for name, document in {"config.json": config, **tokenizer_documents(form)}.items():
            (building / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        try:
            building.replace(folder)
        except OSError:
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder
