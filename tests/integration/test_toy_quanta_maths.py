"""Published models in the n-digit format: names, and a conversion that keeps every logit."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from arithloc.tasks.toy.formats import Format
from arithloc.tasks.toy.quanta_maths import Published, converted, main

D, D_HEAD, D_MLP, VOCAB, LENGTH, EPSILON = 30, 10, 24, 15, 9, 1e-5


def state(n_heads, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"embed.W_E": (VOCAB, D), "pos_embed.W_pos": (LENGTH, D), "ln_final.w": (D,), "ln_final.b": (D,)}
    shapes |= {"unembed.W_U": (D, VOCAB), "unembed.b_U": (VOCAB,)}
    for layer in range(2):
        own = f"blocks.{layer}"
        shapes |= {f"{own}.{norm}.{part}": (D,) for norm in ("ln1", "ln2") for part in "wb"}
        shapes |= {f"{own}.attn.W_{slot}": (n_heads, D, D_HEAD) for slot in "QKV"}
        shapes |= {f"{own}.attn.b_{slot}": (n_heads, D_HEAD) for slot in "QKV"}
        shapes |= {f"{own}.attn.W_O": (n_heads, D_HEAD, D), f"{own}.attn.b_O": (D,)}
        shapes |= {f"{own}.mlp.W_in": (D, D_MLP), f"{own}.mlp.b_in": (D_MLP,)}
        shapes |= {f"{own}.mlp.W_out": (D_MLP, D), f"{own}.mlp.b_out": (D,), f"{own}.attn.mask": (LENGTH, LENGTH)}
    return {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}


def direct(w, ids, n_heads):
    """The published architecture written out, token by token."""

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * w[f"{name}.w"] + w[f"{name}.b"]

    x = w["embed.W_E"][ids] + w["pos_embed.W_pos"][: len(ids)]
    for layer in range(2):
        own, total = f"blocks.{layer}", w[f"blocks.{layer}.attn.b_O"]
        normed = norm(x, f"{own}.ln1")
        for h in range(n_heads):
            q, k, v = (normed @ w[f"{own}.attn.W_{s}"][h] + w[f"{own}.attn.b_{s}"][h] for s in "QKV")
            rows = []
            for t in range(len(ids)):
                scores = np.exp(q[t] @ k[: t + 1].T / np.sqrt(D_HEAD))
                rows.append(scores / scores.sum() @ v[: t + 1])
            total = total + np.array(rows) @ w[f"{own}.attn.W_O"][h]
        x = x + total
        hidden = np.maximum(norm(x, f"{own}.ln2") @ w[f"{own}.mlp.W_in"] + w[f"{own}.mlp.b_in"], 0)
        x = x + hidden @ w[f"{own}.mlp.W_out"] + w[f"{own}.mlp.b_out"]
    return norm(x, "ln_final") @ w["unembed.W_U"] + w["unembed.b_U"]


@pytest.mark.parametrize("n_heads", [3, 4])
def test_conversion_keeps_every_logit(n_heads):
    given, ids = state(n_heads), np.array([3, 1, 10, 4, 9, 12, 10, 0, 5])
    weights, config = converted(given, Published("+", 2, 2, n_heads))
    model = AutoModelForCausalLM.from_config(_config(config), dtype=torch.float64).eval()
    model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    with torch.no_grad():
        found = model(torch.tensor(ids[None])).logits[0].numpy()
    assert config["n_embd"] == n_heads * D_HEAD and found.shape == (9, 15)
    assert np.abs(found - direct(given, ids, n_heads)).max() < 1e-10


def _config(document):
    from transformers import GPT2Config

    return GPT2Config(**{k: v for k, v in document.items() if k not in ("architectures", "model_type", "dtype")})


def test_a_file_becomes_a_folder_that_loads(tmp_path):
    tensors = {name: torch.tensor(array, dtype=torch.float32) for name, array in state(3).items()}
    torch.save({"model": tensors}, tmp_path / "model.pth")
    target = tmp_path / "out"
    assert main(["mix_d2_l2_h3_t15K_s1", str(target), "--file", str(tmp_path / "model.pth")]) == 0
    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
    assert Format.of_tokenizer(AutoTokenizer.from_pretrained(target)) == Format(2, "+-", bos=False)
    ids = np.array([3, 1, 11, 4, 9, 12, 10])
    with torch.no_grad():
        found = model(torch.tensor(ids[None])).logits[0].numpy()
    assert np.abs(found - direct({n: t.double().numpy() for n, t in tensors.items()}, ids, 3)).max() < 1e-3
    with pytest.raises(SystemExit):
        main(["mix_d2_l2_h3_t15K_s1", str(target), "--file", str(tmp_path / "model.pth")])


def test_names():
    assert Published.parse("add_d5_l2_h3_t15K_s372001") == Published("+", 5, 2, 3)
    assert Published.parse("ins1_mix_d6_l3_h4_t40K_gf_s572091") == Published("+-", 6, 3, 4)
    with pytest.raises(ValueError, match="add_d5_l2_h3"):
        Published.parse("gpt2")
