"""Where the parts of each architecture family are: one row per Hugging Face `model_type`.

A row names modules by their attribute path, model-wide ones from the causal LM and the others from one block. A new
family is a new row; `arithloc.benchmark.models.validation` proves on the loaded model that the row is right.
"""

import difflib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from arithloc.benchmark.api.errors import UnsupportedArchitecture, quoted


class QKVLayout(StrEnum):
    """How the rows of the query, key and value projections are arranged."""

    SEPARATE = "separate"
    """Three modules; head h has rows h * d_head to (h + 1) * d_head of its own module."""
    CONCATENATED = "concatenated"
    """One module: all queries, then all keys, then all values."""
    INTERLEAVED = "interleaved"
    """One module: query, key and value of head 0, then of head 1, ..."""


class QKNorm(StrEnum):
    """Norm between the query and key projections and the rotation."""

    NONE = "none"
    """None."""
    HEAD = "head"
    """Each head by itself."""
    JOINT = "joint"
    """All heads together: the scale of one head's query depends on the other heads' rows."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """The parts of one architecture family.

    Attributes:
        model_type: `config.model_type` of the Hugging Face model.
        blocks: the list of transformer blocks.
        embedding: token embedding; its output enters the residual stream (any scale already applied).
        position_embedding: learned positions added to it, or None.
        final_norm: norm before the unembedding.
        unembedding: residual to logits.
        attention: attention module of a block.
        attention_output: output projection; its input is `z`, heads side by side, (..., n_heads * d_head).
        attention_write: module whose output is what attention adds to the residual stream.
        mlp: MLP module of a block.
        mlp_down: down projection; its input is the hidden activation, (..., d_mlp).
        mlp_write: module whose output is what the MLP adds to the residual stream.
        input_norm: norm between residual and attention, None where attention reads the residual itself.
        mlp_norm: norm between residual and MLP, None where the MLP shares `input_norm` or reads the residual itself.
        qkv: one fused projection or query, key, value.
        layout: arrangement of their rows.
        qk_norm: norm of queries and keys inside the attention module.
        parallel: attention and MLP of a block read the same residual stream.
        conv1d: projections keep their weight as (in, out).
    """

    model_type: str
    blocks: str = "model.layers"
    embedding: str = "model.embed_tokens"
    position_embedding: str | None = None
    final_norm: str = "model.norm"
    unembedding: str = "lm_head"
    attention: str = "self_attn"
    attention_output: str = "self_attn.o_proj"
    attention_write: str = "self_attn.o_proj"
    mlp: str = "mlp"
    mlp_down: str = "mlp.down_proj"
    mlp_write: str = "mlp"
    input_norm: str | None = "input_layernorm"
    mlp_norm: str | None = "post_attention_layernorm"
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    layout: QKVLayout = QKVLayout.SEPARATE
    qk_norm: QKNorm = QKNorm.NONE
    parallel: bool = False
    conv1d: bool = False


_LLAMA = Anatomy("llama")
_SANDWICH = replace(
    _LLAMA,
    attention_write="post_attention_layernorm",
    mlp_norm="pre_feedforward_layernorm",
    mlp_write="post_feedforward_layernorm",
)

FAMILIES: dict[str, Anatomy] = {
    row.model_type: row
    for row in (
        Anatomy(
            "gpt2",
            blocks="transformer.h",
            embedding="transformer.wte",
            position_embedding="transformer.wpe",
            final_norm="transformer.ln_f",
            attention="attn",
            attention_output="attn.c_proj",
            attention_write="attn.c_proj",
            mlp_down="mlp.c_proj",
            input_norm="ln_1",
            mlp_norm="ln_2",
            qkv=("attn.c_attn",),
            layout=QKVLayout.CONCATENATED,
            conv1d=True,
        ),
        Anatomy(
            "gptj",
            blocks="transformer.h",
            embedding="transformer.wte",
            final_norm="transformer.ln_f",
            attention="attn",
            attention_output="attn.out_proj",
            attention_write="attn.out_proj",
            mlp_down="mlp.fc_out",
            input_norm="ln_1",
            mlp_norm=None,
            qkv=("attn.q_proj", "attn.k_proj", "attn.v_proj"),
            parallel=True,
        ),
        Anatomy(
            "gpt_neox",
            blocks="gpt_neox.layers",
            embedding="gpt_neox.embed_in",
            final_norm="gpt_neox.final_layer_norm",
            attention="attention",
            attention_output="attention.dense",
            attention_write="attention.dense",
            mlp_down="mlp.dense_4h_to_h",
            qkv=("attention.query_key_value",),
            layout=QKVLayout.INTERLEAVED,
            parallel=True,
        ),
        _LLAMA,
        replace(_LLAMA, model_type="mistral"),
        replace(_LLAMA, model_type="qwen2"),
        replace(_LLAMA, model_type="qwen3", qk_norm=QKNorm.HEAD),
        replace(_LLAMA, model_type="gemma"),
        replace(_SANDWICH, model_type="gemma2"),
        replace(_SANDWICH, model_type="gemma3_text", qk_norm=QKNorm.HEAD),
        replace(
            _SANDWICH,
            model_type="gemma3",
            blocks="model.language_model.layers",
            embedding="model.language_model.embed_tokens",
            final_norm="model.language_model.norm",
            qk_norm=QKNorm.HEAD,
        ),
        replace(_LLAMA, model_type="phi3", qkv=("self_attn.qkv_proj",), layout=QKVLayout.CONCATENATED),
        replace(_LLAMA, model_type="olmo"),
        replace(
            _LLAMA,
            model_type="olmo2",
            attention_write="post_attention_layernorm",
            mlp_write="post_feedforward_layernorm",
            input_norm=None,
            mlp_norm=None,
            qk_norm=QKNorm.JOINT,
        ),
    )
}


def family(model_type: str) -> Anatomy:
    """The row of a Hugging Face `model_type`.

    Raises:
        UnsupportedArchitecture: there is none.
    """
    if model_type not in FAMILIES:
        near = difflib.get_close_matches(model_type, FAMILIES, n=1)
        raise UnsupportedArchitecture(
            f"Expected one of the supported architectures ({', '.join(sorted(FAMILIES))}), "
            f"found model type {quoted(model_type)}. "
            + (f"The nearest is {near[0]}; a" if near else "A")
            + " new family is one row in benchmark/models/anatomy.py."
        )
    return FAMILIES[model_type]


def anatomy_of(config: Any) -> Anatomy:
    """The row for a Hugging Face configuration, with what the configuration decides filled in.

    Raises:
        UnsupportedArchitecture: no row for `config.model_type`, or an option that changes the computation in a way
            that the row does not describe.
    """
    row, text = family(config.model_type), config.get_text_config()
    for option in ("add_cross_attention", "use_bidirectional_attention"):
        if getattr(text, option, False):
            raise UnsupportedArchitecture(
                f"Expected a decoder with causal self-attention only, found {option}=True in the {row.model_type} "
                "configuration. Use the plain causal language model."
            )
    return replace(row, parallel=bool(getattr(text, "use_parallel_residual", row.parallel)))
