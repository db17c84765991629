"""The parts of every family, against what the modules compute by themselves."""

import dataclasses

import pytest
import torch
from support import tiny, tiny_tokenizers
from transformers import AutoModelForCausalLM, Gemma3Config

from arithloc.benchmark.api.errors import AdapterCheckFailed
from arithloc.benchmark.models import ModelIdentity, QKNorm, QKVLayout, validate, wrap

EXACT = {torch.float32: 1e-5, torch.float64: 1e-12}
IDS = torch.tensor([[0, 5, 9, 31, 7, 12]])
"""Six tokens: as long as the sliding windows of the tiny models, so that all positions are seen."""

VARIANTS = [
    ("gpt_neox", {"use_parallel_residual": False}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    ("llama", {"attention_bias": True, "mlp_bias": True}),
    ("llama", {"attn_implementation": "eager"}),
    ("llama", {"num_key_value_heads": 1}),
    ("olmo", {"clip_qkv": 0.5}),
    ("gemma3_text", {"final_logit_softcapping": 5.0}),
]


def _seen(subject, *places):
    """Runs `IDS`; returns logits and, by place, the first input and the (first) output of modules."""
    seen = {}

    def hook(name):
        def keep(module, args, kwargs, output):
            first = next(iter((*args, *kwargs.values())))
            seen[name] = (first, output[0] if isinstance(output, tuple) else output)

        return keep

    handles = [module.register_forward_hook(hook(i), with_kwargs=True) for i, module in enumerate(places)]
    logits = subject.module(IDS, use_cache=False).logits
    for handle in handles:
        handle.remove()
    return logits, [seen[i] for i in range(len(places))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_passes_its_own_check(family, dtype):
    validate(tiny.subject(family, dtype=dtype, layers=3))


@pytest.mark.parametrize(("family", "options"), VARIANTS)
def test_configuration_variants_pass(family, options):
    subject = tiny.subject(family, dtype=torch.float64, **options)
    assert subject.shape.parallel is False
    validate(subject)


def test_the_text_part_of_a_multimodal_gemma_is_found():
    text = tiny.config("gemma3_text", vocab=168).to_dict()
    vision = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=text,
        vision_config={**vision, "image_size": 8, "patch_size": 4},
        mm_tokens_per_image=4,
        boi_token_index=160,
        eoi_token_index=161,
        image_token_index=162,
    )
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config).to(torch.float64)
    identity = ModelIdentity("r", "w", "c", "t", "gemma3", 1, is_toy=False)
    subject = wrap("gemma3", module, tiny_tokenizers.digits(), identity)
    validate(subject)
    assert (subject.shape.n_layers, subject.shape.n_kv_heads, subject.shape.d_head) == (2, 2, 8)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_shape_is_what_the_configuration_asked_for(family):
    shape = tiny.subject(family, layers=3).shape
    grouped = family not in ("gpt2", "gptj", "gpt_neox")
    own_width = family in ("llama", "mistral", "qwen3", "gemma", "gemma2", "gemma3_text")
    assert dataclasses.asdict(shape) == {
        "n_layers": 3,
        "n_heads": 4,
        "n_kv_heads": 2 if grouped else 4,
        "d_model": 24,
        "d_head": 8 if own_width else 6,
        "d_mlp": 40,
        "vocab": len(tiny_tokenizers.digits()),
        "parallel": family in ("gptj", "gpt_neox"),
    }


@pytest.mark.parametrize("dtype", list(EXACT), ids=str)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_output_and_down_weights_rebuild_the_projections_term_by_term(family, dtype):
    subject = tiny.subject(family, dtype=dtype)
    for layer in range(2):
        output, down = subject.attention_output(layer), subject.mlp_down(layer)
        _, [(z, written), (hidden, put_out)] = _seen(subject, output, down)
        s = subject.shape
        w_o, w_down = subject.output_weight(layer), subject.down_weight(layer)
        assert w_o.shape == (s.n_heads, s.d_head, s.d_model)
        assert w_down.shape == (s.d_mlp, s.d_model)
        total = torch.zeros_like(written)
        for head in range(s.n_heads):
            total += z[..., head * s.d_head : (head + 1) * s.d_head] @ w_o[head]
        units = torch.zeros_like(put_out)
        for unit in range(s.d_mlp):
            units += hidden[..., unit, None] * w_down[unit]
        for found, module, expected in ((total, output, written), (units, down, put_out)):
            bias = 0.0 if module.bias is None else module.bias
            assert torch.allclose(found + bias, expected, rtol=0, atol=EXACT[dtype] * expected.abs().max())


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_residual_stream_is_the_embedding_and_every_write(family):
    subject = tiny.subject(family, dtype=torch.float64, layers=3)
    writes = [part(layer) for layer in range(3) for part in (subject.attention_write, subject.mlp_write)]
    positions = [] if subject.position_embedding is None else [subject.position_embedding]
    _, [(final, _), *seen] = _seen(subject, subject.final_norm, subject.embedding, *positions, *writes)
    total = sum(output for _, output in seen)
    assert torch.allclose(total, final, rtol=0, atol=1e-12 * final.abs().max())


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_logits_of_the_last_residual_stream_are_the_models(family):
    subject = tiny.subject(family, dtype=torch.float64)
    logits, [(final, _)] = _seen(subject, subject.final_norm)
    assert torch.allclose(subject.logits(final), logits, rtol=0, atol=1e-12)
    assert torch.allclose(subject.logits(final[:, -1]), logits[:, -1], rtol=0, atol=1e-12)


def test_the_soft_cap_bounds_the_logits():
    subject = tiny.subject("gemma2", dtype=torch.float64, final_logit_softcapping=2.0)
    plain = tiny.subject("gemma2", dtype=torch.float64, final_logit_softcapping=None)
    residual = torch.randn(3, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 9
    assert (subject.logit_softcap, plain.logit_softcap) == (2.0, None)
    assert plain.logits(residual).abs().max() > 2.5
    assert torch.allclose(subject.logits(residual), 2 * torch.tanh(plain.logits(residual) / 2), rtol=0, atol=1e-12)


def _z_with_rows_zeroed(subject, layer, slot, head):
    where = subject.head_rows(layer, slot, head)

    def zero(module, args, output):
        output = output.clone()
        output[..., where.rows] = 0
        return output

    handle = where.module.register_forward_hook(zero)
    _, [(z, _)] = _seen(subject, subject.attention_output(layer))
    handle.remove()
    return z.unflatten(-1, (subject.shape.n_heads, subject.shape.d_head))


@pytest.mark.parametrize("head", range(4))
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_query_key_and_value_rows_belong_to_their_head(family, head):
    """A head without query (or key) attends uniformly: its z is the running mean of its values. Without values, 0."""
    subject = tiny.subject(family, dtype=torch.float64)
    layer, group = 1, head // subject.group_size
    values = subject.head_rows(layer, "v", group)
    _, [(_, projected)] = _seen(subject, values.module)
    v = projected[0, :, values.rows]
    running_mean = v.cumsum(0) / torch.arange(1, 7)[:, None]
    for slot, index in (("q", head), ("k", group)):
        z = _z_with_rows_zeroed(subject, layer, slot, index)[0, :, head]
        assert torch.allclose(z, running_mean, rtol=0, atol=1e-12)
    z = _z_with_rows_zeroed(subject, layer, "v", group)[0]
    in_group = [h // subject.group_size == group for h in range(4)]
    assert [bool((z[:, h] == 0).all()) for h in range(4)] == in_group


@pytest.mark.parametrize("family", ["qwen3", "gemma3_text", "olmo2", "llama", "phi3"])
def test_the_query_norm_couples_heads_only_where_the_anatomy_says_so(family):
    subject = tiny.subject(family, dtype=torch.float64)
    where = subject.head_rows(1, "q", 0)
    _, [(clean, _)] = _seen(subject, subject.attention_output(1))

    def stretch(module, args, output):
        output = output.clone()
        output[..., where.rows] *= 3
        return output

    handle = where.module.register_forward_hook(stretch)
    _, [(z, _)] = _seen(subject, subject.attention_output(1))
    handle.remove()
    d_head = subject.shape.d_head
    own, others = (
        not torch.allclose(z[..., part], clean[..., part]) for part in (slice(0, d_head), slice(d_head, None))
    )
    # a norm per head undoes the stretch; a joint norm shrinks the other heads' queries
    assert (own, others) == {
        QKNorm.NONE: (True, False),
        QKNorm.HEAD: (False, False),
        QKNorm.JOINT: (True, True),
    }[subject.anatomy.qk_norm]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_norms_stand_between_residual_and_part(family):
    subject = tiny.subject(family, dtype=torch.float64)
    block, attention, mlp = subject.blocks[1], subject.attention(1), subject.mlp(1)
    _, [(before, _), (read, _), (mlp_read, _), (_, written)] = _seen(
        subject, block, attention, mlp, subject.attention_write(1)
    )
    norm, mlp_norm = subject.input_norm(1), subject.mlp_norm(1)
    assert torch.equal(read, before if norm is None else norm(before))
    middle = before if subject.shape.parallel else before + written
    if family == "gptj":
        assert mlp_norm is None
        assert torch.equal(mlp_read, norm(before))
    elif family == "olmo2":
        assert norm is None
        assert mlp_norm is None
        assert torch.allclose(mlp_read, middle, rtol=0, atol=1e-12)
    else:
        assert torch.allclose(mlp_read, mlp_norm(middle), rtol=0, atol=1e-12)


SABOTAGE = [
    ("llama", {"attention_output": "self_attn.nothing"}, "attention output projection"),
    ("llama", {"blocks": "model.levels"}, "blocks"),
    ("llama", {"attention_output": "mlp.down_proj"}, "attention 0"),
    ("qwen2", {"attention_output": "self_attn.q_proj"}, "attention 0"),
    ("llama", {"attention": "self_attn.o_proj"}, "attention 0"),
    ("llama", {"mlp_down": "self_attn.o_proj"}, "MLP 0"),
    ("llama", {"mlp_write": "mlp.gate_proj"}, "block 0"),
    ("llama", {"attention_write": "self_attn"}, "tensor"),
    ("llama", {"attention_write": "mlp"}, "block 0"),
    ("gemma2", {"attention_write": "self_attn.o_proj"}, "block 0"),
    ("olmo2", {"mlp_write": "mlp"}, "block 0"),
    ("gemma2", {"mlp_norm": "post_attention_layernorm"}, "MLP norm of block 0"),
    ("llama", {"input_norm": "post_attention_layernorm"}, "input norm of block 0"),
    ("llama", {"input_norm": None}, "input of attention 0"),
    ("llama", {"mlp_norm": None}, "MLP norm of block 0"),
    ("gpt2", {"position_embedding": None}, "residual stream into block 0"),
    ("gpt2", {"embedding": "transformer.wpe"}, "token embedding"),
    ("gpt2", {"embedding": "transformer.ln_f"}, "token embedding"),
    ("gpt2", {"unembedding": "transformer.wte"}, "unembedding"),
    ("gpt2", {"conv1d": False}, "residual width"),
    ("llama", {"final_norm": "model.layers.0.input_layernorm"}, "final norm"),
    ("llama", {"final_norm": "model.rotary_emb"}, "tensor|final norm"),
    ("gptj", {"parallel": False}, "MLP norm of block 0"),
    ("gpt_neox", {"parallel": False}, "MLP norm of block 0"),
    ("llama", {"parallel": True}, "MLP norm of block 0"),
    ("gpt2", {"layout": QKVLayout.INTERLEAVED}, "rows of head"),
    ("phi3", {"layout": QKVLayout.INTERLEAVED}, "rows of head"),
    ("gpt_neox", {"layout": QKVLayout.CONCATENATED}, "rows of head"),
    ("qwen2", {"qkv": ("self_attn.k_proj", "self_attn.q_proj", "self_attn.v_proj")}, "rows of head"),
    ("qwen2", {"qkv": ("self_attn.q_proj", "self_attn.v_proj", "self_attn.k_proj")}, "rows of head"),
    ("gptj", {"qkv": ("attn.k_proj", "attn.q_proj", "attn.v_proj")}, "rows of head"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("family", "change", "part"), SABOTAGE)
def test_a_wrong_row_is_caught_and_the_part_is_named(family, change, part, dtype):
    right = tiny.subject(family, dtype=dtype)
    wrong = dataclasses.replace(right.anatomy, **change)
    with pytest.raises(AdapterCheckFailed, match=part) as caught:
        validate(wrap("sabotaged", right.module, right.tokenizer, right.identity, wrong))
    assert "anatomy.py" in str(caught.value)


def test_a_module_that_the_forward_does_not_call_is_caught():
    subject = tiny.subject("llama")
    subject.blocks[0].self_attn.add_module("spare", torch.nn.Linear(32, 24))
    wrong = dataclasses.replace(subject.anatomy, attention_output="self_attn.spare", attention_write="self_attn.spare")
    subject.blocks[1].self_attn.add_module("spare", torch.nn.Linear(32, 24))
    with pytest.raises(AdapterCheckFailed, match="was not called"):
        validate(wrap("sabotaged", subject.module, subject.tokenizer, subject.identity, wrong))


def _hooks(subject):
    return [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in subject.module.modules()]


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_checking_leaves_no_hook_and_no_gradient_behind(family):
    subject = tiny.subject(family)
    hooks = _hooks(subject)
    before, _ = _seen(subject, subject.final_norm)
    validate(subject)
    after, _ = _seen(subject, subject.final_norm)
    assert torch.equal(before, after)
    assert not after.requires_grad
    assert _hooks(subject) == hooks


def test_a_check_that_fails_leaves_no_hook_behind_either():
    subject = tiny.subject("gpt2")
    wrong = dataclasses.replace(subject.anatomy, attention_write="attn")
    sabotaged = wrap("sabotaged", subject.module, subject.tokenizer, subject.identity, wrong)
    hooks = _hooks(sabotaged)
    with pytest.raises(AdapterCheckFailed):
        validate(sabotaged)
    assert _hooks(sabotaged) == hooks


def test_the_last_position_alone_costs_no_copy_of_the_unembedding():
    """Handed a strided slice of a batch, a linear map would expand its weight to one copy per prompt."""
    subject = tiny.subject("llama")
    seen = []
    subject.unembedding.register_forward_hook(lambda module, args, output: seen.append(args[0].is_contiguous()))
    last = subject.module(IDS.expand(3, -1), use_cache=False, logits_to_keep=1).logits
    assert seen == [True]
    assert torch.allclose(last, subject.module(IDS.expand(3, -1), use_cache=False).logits[:, -1:], rtol=0, atol=1e-5)
