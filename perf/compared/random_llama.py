"""Llama 3 models with random weights, and random prompts for them: the arithmetic of a size without its checkpoint."""

import torch
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from arithloc.benchmark.api import PromptPair, Split
from arithloc.benchmark.models import ModelIdentity, SubjectModel, wrap

_SHAPES = {
    "tiny": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 256,
        "tie_word_embeddings": True,
    },
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "8b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
    },
}
SIZES = tuple(_SHAPES)
"""Llama-3.2-1B, Llama-3.1-8B, and one small enough to try a command with."""


def random_llama(size: str, *, device: str, dtype: str, layers: int | None = None) -> SubjectModel:
    """A model of one of `SIZES`, made on its device without a copy elsewhere.

    Args:
        size: one of `SIZES`.
        device: where it is made.
        dtype: of the weights.
        layers: blocks, where not the size's own number.
    """
    shape = _SHAPES[size] if layers is None else {**_SHAPES[size], "num_hidden_layers": layers}
    config = LlamaConfig(**shape, rope_parameters={"rope_type": "default", "rope_theta": 500000.0})
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    module.to_empty(device=device)
    module.tie_weights()
    module.model.rotary_emb = LlamaRotaryEmbedding(config).to(device)  # its angles are no weights
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, 0.02, generator=generator)
    name = f"random Llama {size}"
    n_params = sum(parameter.numel() for parameter in module.parameters())
    return wrap(name, module, None, ModelIdentity(name, name, name, "none", "llama", n_params, is_toy=False))


_FORMS = {"question": (15, 7), "aside": (15, 1), "exemplars": (41, 35), "long-aside": (41, 1)}
"""Tokens, and first tokens that all prompts share, of each kind of prompt in `compared.prompts`."""


def random_prompts(name: str, vocab: int, n: int) -> list[PromptPair]:
    """`n` pairs of random tokens as long as a kind of prompt; they differ at the first two tokens not shared by all."""
    length, shared = _FORMS[name]
    generator = torch.Generator().manual_seed(1)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, vocab, (count,), generator=generator).tolist())

    front = draw(shared)
    return [_pair(i, front, draw(length - shared), draw(2), draw(2)) for i in range(n)]


def _pair(
    index: int, front: tuple[int, ...], own: tuple[int, ...], operands: tuple[int, ...], scored: tuple[int, ...]
) -> PromptPair:
    clean = (*front, *own)
    classes = (*["early"] * len(front), "operand1", "operand2", *["late"] * (len(own) - 3), "last")
    return PromptPair(
        task="random",
        frame="random",
        operator="none",
        kind="operands",
        clean=f"clean {index}",
        counterfactual=f"counterfactual {index}",
        clean_ids=clean,
        counterfactual_ids=(*front, *operands, *own[2:]),
        classes=classes,
        answer="answer",
        answer_cf="foil",
        answer_ids=scored[:1],
        answer_cf_ids=scored[1:],
        first_diff=0,
        candidates=scored,
        strata=(),
        cluster=str(index),
        split=Split.DISCOVERY,
        index=index,
    )
