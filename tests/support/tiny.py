"""Tiny random models of every supported architecture family, built in memory.

    subject = tiny.subject("qwen2", dtype=torch.float64)
    folder = tiny.folder(tmp_path, "gpt2")

Weights are drawn from an explicit generator, norms and biases included, so that a part which is left out or counted
twice shows in every number. Widths differ from each other (heads * d_head is not d_model where the family allows it),
so that a transposed or misread projection cannot fit by accident.
"""

import json
import math
from pathlib import Path
from typing import Any

import gguf
import torch
import transformers
from support import tiny_tokenizers

from arithloc.benchmark.models import ModelIdentity, SubjectModel, wrap

_GQA = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
_GPT = {"n_embd": 24, "n_head": 4, "n_positions": 128, "n_inner": 40}
_WINDOW = ["sliding_attention", "full_attention"]

_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", _GPT),
    "gptj": ("GPTJConfig", {**_GPT, "rotary_dim": 4}),
    "gpt_neox": (
        "GPTNeoXConfig",
        {**{k: v for k, v in _GQA.items() if k != "num_key_value_heads"}, "rotary_pct": 0.5},
    ),
    "llama": ("LlamaConfig", {**_GQA, "head_dim": 8, "tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {**_GQA, "head_dim": 8, "sliding_window": 6}),
    "qwen2": ("Qwen2Config", _GQA),
    "qwen3": ("Qwen3Config", {**_GQA, "head_dim": 8}),
    "gemma": ("GemmaConfig", {**_GQA, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {**_GQA, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}),
    "gemma3_text": ("Gemma3TextConfig", {**_GQA, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}),
    "phi3": ("Phi3Config", {**_GQA, "sliding_window": None}),
    "olmo": ("OlmoConfig", _GQA),
    "olmo2": ("Olmo2Config", _GQA),
}
FAMILIES = tuple(_CONFIGS)
"""Every family that has a tiny model."""


def config(family: str, *, vocab: int, layers: int = 2, **options: Any) -> Any:
    """Configuration of a tiny model; `options` override the family's."""
    name, fields = _CONFIGS[family]
    fields = {"vocab_size": vocab, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1, **fields}
    if family in ("gpt2", "gptj"):
        fields["n_layer"] = layers
    else:
        fields["num_hidden_layers"] = layers
    if family in ("gemma2", "gemma3_text"):
        fields["layer_types"] = [_WINDOW[i % 2] for i in range(layers)]
        fields["final_logit_softcapping"] = 30.0 if family == "gemma2" else None
    return getattr(transformers, name)(**{**fields, **options})


def model(
    family: str, *, vocab: int, layers: int = 2, dtype: torch.dtype = torch.float32, seed: int = 0, **options: Any
) -> Any:
    """A tiny random causal LM in eval mode; `options` are fields of its configuration."""
    module = transformers.AutoModelForCausalLM.from_config(config(family, vocab=vocab, layers=layers, **options))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if parameter.ndim == 2:
                embeds = "embed" in name or "wte" in name or "wpe" in name
                parameter.copy_(draw * 0.7 if embeds else draw / math.sqrt(min(parameter.shape)))
            elif name.endswith("bias"):
                parameter.copy_(draw * 0.3)
            else:
                parameter.add_(draw * 0.3)
    return module.to(dtype).eval()


def subject(
    family: str,
    *,
    dtype: torch.dtype = torch.float32,
    layers: int = 2,
    seed: int = 0,
    tokenizer: Any = None,
    **options: Any,
) -> SubjectModel:
    """A tiny random model of `family` as subject model, without touching the disk.

    Args:
        family: one of `FAMILIES`.
        dtype: float32 or float64; the same seed gives the same weights up to rounding.
        layers: transformer blocks.
        seed: of the weights.
        tokenizer: one of `support.tiny_tokenizers`; `digits()` by default.
        options: further fields of the configuration.
    """
    tokenizer = tokenizer or tiny_tokenizers.digits()
    module = model(family, vocab=len(tokenizer), layers=layers, dtype=dtype, seed=seed, **options)
    n_params = sum(parameter.numel() for parameter in module.parameters())
    label = f"tiny-{family}-{layers}-{seed}"
    identity = ModelIdentity(label, label, label, type(tokenizer).__name__, family, n_params, is_toy=False)
    return wrap(label, module, tokenizer, identity)


def folder(parent: Path, family: str, *, tokenizer: Any = None, **options: Any) -> Path:
    """Saves a tiny random model with its tokenizer below `parent` as any Hugging Face model is saved."""
    tokenizer = tokenizer or tiny_tokenizers.digits()
    path = parent / f"tiny-{family}"
    model(family, vocab=len(tokenizer), **options).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def gguf_file(parent: Path, *, tokenizer: Any = None, **options: Any) -> tuple[Path, Any]:
    """Writes a tiny random Qwen2 as an unquantised GGUF file; returns the file and the model."""
    tokenizer = tokenizer or tiny_tokenizers.digits(bos=False)
    module = model("qwen2", vocab=len(tokenizer), **options)
    path, settings = parent / "tiny-qwen2.gguf", module.config
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(settings.num_hidden_layers)
    writer.add_context_length(settings.max_position_embeddings)
    writer.add_embedding_length(settings.hidden_size)
    writer.add_feed_forward_length(settings.intermediate_size)
    writer.add_head_count(settings.num_attention_heads)
    writer.add_head_count_kv(settings.num_key_value_heads)
    writer.add_layer_norm_rms_eps(settings.rms_norm_eps)
    writer.add_rope_freq_base(settings.rope_parameters["rope_theta"])
    writer.add_vocab_size(len(tokenizer))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_token_merges(["\u0120 +"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(1)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, settings.num_hidden_layers)
    for name, tensor in module.state_dict().items():
        stem, _, kind = name.rpartition(".")
        writer.add_tensor(f"{names.get_name(stem)}.{kind}", tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, module


def set_config(path: Path, **fields: Any) -> None:
    """Changes fields of a saved model's `config.json`."""
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
