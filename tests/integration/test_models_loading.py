"""What `--model` may be given, and every way in which a model can be unusable."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors.torch import load_file, save_file
from support import tiny, tiny_tokenizers
from transformers import AutoModelForCausalLM

from arithloc.benchmark.api.errors import (
    BadOption,
    ModelError,
    NoFastTokenizer,
    PrerequisiteError,
    UnknownName,
    UnsupportedArchitecture,
)
from arithloc.benchmark.models import FAMILIES, load
from arithloc.benchmark.models import checkpoint as checkpoints

IDS = torch.arange(2, 9)[None]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_loads_from_its_folder_with_the_same_logits(family, dtype, tmp_path, cache):
    folder = tiny.folder(tmp_path, family, seed=3)
    subject = load(str(folder), dtype=dtype, cache=cache)
    stock = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    assert subject.dtype == getattr(torch, dtype)
    assert subject.identity.family == family
    assert subject.identity.n_params == sum(p.numel() for p in stock.parameters())
    with torch.no_grad():
        expected = stock(IDS).logits
    # a float64 model of ours computes in float64 throughout, the stock one in float32 in places
    assert torch.allclose(subject.module(IDS).logits, expected, rtol=0, atol=1e-5 * expected.abs().max())
    assert subject.tokenizer.is_fast
    assert not subject.module.training
    assert not any(parameter.requires_grad for parameter in subject.module.parameters())
    assert subject.name == folder.name


def test_half_weights_and_automatic_placement(tmp_path, cache):
    folder = tiny.folder(tmp_path, "qwen2")
    assert load(str(folder), dtype="bfloat16", cache=cache).dtype == torch.bfloat16
    assert load(str(folder), device="auto", cache=cache).device.type in ("cpu", "cuda", "mps")


def test_a_gguf_file_gives_the_weights_and_the_tokenizer_it_holds(tmp_path, cache, capfd):
    file, written = tiny.gguf_file(tmp_path, seed=5)
    capfd.readouterr()
    subject = load(str(file), cache=cache)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert torch.equal(subject.module(IDS).logits, written(IDS).logits.detach())
    assert subject.tokenizer.convert_ids_to_tokens(subject.tokenizer("3+5").input_ids) == ["3", "+", "5"]
    assert subject.name == "tiny-qwen2"
    assert subject.identity.weights_hash == subject.identity.tokenizer_hash
    assert load(str(file), dtype="float64", cache=cache).dtype == torch.float64


def test_a_gguf_file_of_rubbish_is_refused(tmp_path, cache):
    file = tmp_path / "rubbish.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelError, match=r"rubbish.*save_pretrained"):
        load(str(file), cache=cache)


@pytest.mark.parametrize("pinned", ["eager", "sdpa"])
def test_attention_is_the_implementation_that_the_folder_pins(pinned, tmp_path, cache):
    folder = tiny.folder(tmp_path, "gpt2")
    tiny.set_config(folder, attn_implementation=pinned)
    assert load(str(folder), cache=cache).config._attn_implementation == pinned


@pytest.mark.parametrize(("family", "expected"), [("gpt2", "sdpa"), ("gptj", "eager"), ("gemma2", "eager")])
def test_unpinned_attention_is_the_fastest_exact_one(family, expected, tmp_path, cache):
    folder = tiny.folder(tmp_path, family)
    assert load(str(folder), cache=cache).config._attn_implementation == expected
    tiny.set_config(folder, attn_implementation="flash_attention_2")
    assert load(str(folder), cache=cache).config._attn_implementation == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_are_refused_by_name_where_the_folder_says_so(dtype, tmp_path, cache):
    folder = tiny.folder(tmp_path, "gpt2")
    tiny.set_config(folder, arithloc_dtype_min="float32")
    with pytest.raises(ModelError, match=f"found {dtype}.*--dtype float32"):
        load(str(folder), dtype=dtype, cache=cache)
    assert load(str(folder), dtype="float32", cache=cache).dtype == torch.float32
    assert load(str(folder), dtype="float64", cache=cache).dtype == torch.float64


def test_a_registered_name_is_built_where_the_cache_is(cache):
    subject = load("toy-a-base-1", cache=cache)
    assert subject.identity.is_toy
    assert subject.name == "toy-a-base-1"
    assert subject.config._attn_implementation == "eager"
    assert list((cache / "toys").iterdir())


def test_a_packaged_model_that_is_not_built_names_the_command(cache):
    with pytest.raises(PrerequisiteError, match="bench models build smollm2"):
        load("smollm2", cache=cache)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("smolm2", ("Did you mean smollm2?", "hub cache")),
        ("nobody/no-such-model", ("hub cache", "Registered: ")),
        ("nobody/no-such-model@main", ("hub cache",)),
        ("./no-such-folder", ("not written like",)),
        ("no-such-file.gguf", ("not written like",)),
        ("two words", ("not written like",)),
        ("", ("not written like",)),
    ],
)
def test_an_unknown_name_says_which_of_the_four_forms_were_tried(reference, said, cache):
    with pytest.raises(UnknownName) as caught:
        load(reference, cache=cache)
    text = str(caught.value)
    for part in (repr(reference), "registered", "folder", ".gguf file", "Hugging Face id", *said):
        assert part in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("offline", ["1", "0"])
def test_an_unreachable_hub_gives_the_message_quickly(offline, cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    # an address of this machine at which nothing listens: refused at once, as without a network
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code = (
        "import time; from pathlib import Path; from arithloc.benchmark.models import load; start = time.monotonic()\n"
        f"try: load('nobody/no-such-model', cache=Path({str(cache)!r}))\n"
        "except Exception as error: print(type(error).__name__, time.monotonic() - start < 5, error)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert printed.stdout.startswith("UnknownName True No model is called 'nobody/no-such-model'")
    assert printed.stderr == ""


def _hub(monkeypatch, answer):
    asked = []

    def download(name, revision=None, allow_patterns=(), ignore_patterns=()):
        asked.append((name, revision))
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr(checkpoints, "snapshot_download", download)
    return asked


def test_a_hub_id_with_revision_is_recorded_with_its_commit(tmp_path, cache, monkeypatch):
    snapshot = tiny.folder(tmp_path, "llama").rename(tmp_path / COMMIT)
    asked = _hub(monkeypatch, snapshot)
    pinned, plain = load("someone/some-model@v2", cache=cache), load("someone/some-model", cache=cache)
    assert asked == [("someone/some-model", "v2"), ("someone/some-model", None)]
    assert (pinned.identity.revision, pinned.name) == (COMMIT, "someone/some-model")
    assert plain.identity == pinned.identity
    assert len(pinned.identity.weights_hash) == 64


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (GatedRepoError, PrerequisiteError, "licence.*hf auth login"),
        (RepositoryNotFoundError, UnknownName, "hub answers RepositoryNotFoundError"),
        (RevisionNotFoundError, UnknownName, "hub answers RevisionNotFoundError"),
        (TimeoutError, PrerequisiteError, "download.*TimeoutError: it said no"),
    ],
)
def test_a_refusal_of_the_hub_is_passed_on(error, kind, said, cache, monkeypatch):
    # without its constructor, which wants a response of whichever HTTP library the hub client uses
    _hub(monkeypatch, error.__new__(error, "it said no"))
    with pytest.raises(kind, match=said):
        load("someone/some-model", cache=cache)


def test_pickled_weights_are_never_read(tmp_path, cache):
    folder = tiny.folder(tmp_path, "gpt2")
    trace = tmp_path / "executed"
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")

    class Evil:
        def __reduce__(self):
            return (Path.touch, (trace,))

    torch.save(Evil(), folder / "training_args.bin")
    with pytest.raises(ModelError, match=r"safetensors.*pickled weights \(pytorch_model.bin\)"):
        load(str(folder), cache=cache)
    assert not trace.exists()


def test_a_folder_without_weights_or_without_a_shard_is_refused(tmp_path, cache):
    folder = tiny.folder(tmp_path, "gpt2")
    weights = (folder / "model.safetensors").rename(tmp_path / "kept")
    with pytest.raises(ModelError, match=r"safetensors.*found none"):
        load(str(folder), cache=cache)
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    weights.rename(folder / "model-1.safetensors")
    with pytest.raises(ModelError, match=r"model-2\.safetensors missing"):
        load(str(folder), cache=cache)


def test_a_sharded_folder_loads(tmp_path, cache):
    whole = load(str(tiny.folder(tmp_path, "llama")), cache=cache)
    module = tiny.model("llama", vocab=len(tiny_tokenizers.digits()))
    folder = tmp_path / "sharded"
    module.save_pretrained(folder, max_shard_size="20kB")
    tiny_tokenizers.digits().save_pretrained(folder)
    assert len(list(folder.glob("*.safetensors"))) > 1
    subject = load(str(folder), cache=cache)
    assert torch.equal(subject.module(IDS).logits, whole.module(IDS).logits)
    assert subject.identity.config_hash == whole.identity.config_hash
    assert subject.identity.weights_hash != whole.identity.weights_hash


def test_a_missing_weight_is_not_made_up(tmp_path, cache):
    folder = tiny.folder(tmp_path, "gpt2")
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.1.mlp.c_fc.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 missing, 'transformer\.h\.1\.mlp\.c_fc\.bias'"):
        load(str(folder), cache=cache)


def test_broken_weights_and_broken_configurations_are_one_line_errors(tmp_path, cache):
    folder = tiny.folder(tmp_path, "gpt2")
    (folder / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(ModelError, match="tiny-gpt2"):
        load(str(folder), cache=cache)
    for text in ("{", "[]", "{}"):
        (folder / "config.json").write_text(text)
        with pytest.raises(ModelError, match="tiny-gpt2"):
            load(str(folder), cache=cache)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        load(str(folder), cache=cache)


def test_an_unsupported_architecture_is_refused_before_any_code_of_it_is_asked_for(tmp_path, cache):
    folder = tiny.folder(tmp_path, "gpt2")
    tiny.set_config(folder, model_type="brand_new", auto_map={"AutoConfig": "evil.Config"})
    (folder / "evil.py").write_text("raise SystemExit('executed')")
    with pytest.raises(UnsupportedArchitecture) as caught:
        load(str(folder), cache=cache)
    assert all(name in str(caught.value) for name in FAMILIES)


@pytest.mark.parametrize("kept", [None, {"tokenizer_class": "ByT5Tokenizer"}, {"tokenizer_class": "LlamaTokenizer"}])
@pytest.mark.parametrize("family", ["gpt2", "qwen2", "llama"])
def test_a_folder_without_a_fast_tokenizer_is_refused(family, kept, tmp_path, cache):
    folder = tiny.folder(tmp_path, family)
    (folder / "tokenizer.json").unlink()
    settings = folder / "tokenizer_config.json"
    if kept is None:
        settings.unlink()
    else:
        settings.write_text(json.dumps(kept))
    with pytest.raises(NoFastTokenizer, match=r"fast tokenizer \(tokenizer\.json\)") as caught:
        load(str(folder), cache=cache)
    assert caught.value.exit_code == 2


def test_a_tokenizer_that_only_python_code_implements_is_refused(tmp_path, cache):
    folder = tiny.folder(tmp_path, "gpt2")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    with pytest.raises(NoFastTokenizer, match="ByT5Tokenizer"):
        load(str(folder), cache=cache)


def test_a_wrong_dtype_or_device_is_a_usage_error(tmp_path, cache):
    folder = str(tiny.folder(tmp_path, "gpt2"))
    with pytest.raises(BadOption, match=r"float32, float64.*'int8'"):
        load(folder, dtype="int8", cache=cache)
    with pytest.raises(BadOption, match="'toaster'"):
        load(folder, device="toaster", cache=cache)
    with pytest.raises(PrerequisiteError, match="'meta'"):
        load(folder, device="meta", cache=cache)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_there_is_a_missing_prerequisite(tmp_path, cache):
    with pytest.raises(PrerequisiteError, match=r"'cuda'.*--device cpu"):
        load(str(tiny.folder(tmp_path, "gpt2")), device="cuda", cache=cache)


def test_loading_says_nothing(tmp_path, cache, capfd):
    folder = tiny.folder(tmp_path, "gpt2")
    capfd.readouterr()
    load(str(folder), cache=cache)
    assert capfd.readouterr() == ("", "")


@pytest.mark.real_model
def test_smollm2_loads_checked_and_completes_a_capital():
    started = time.monotonic()
    subject = load("smollm2")
    assert time.monotonic() - started < 60
    shape = subject.shape
    assert (shape.n_layers, shape.n_heads, shape.n_kv_heads, shape.d_model) == (30, 9, 3, 576)
    assert (shape.d_head, shape.d_mlp, shape.vocab, subject.identity.n_params) == (64, 1536, 49152, 134515008)
    prompt = "The capital of Italy is Rome. The capital of Spain is Madrid. The capital of France is"
    ids = torch.tensor([subject.tokenizer(prompt).input_ids])
    assert subject.tokenizer.decode(subject.module(ids).logits[0, -1].argmax()) == " Paris"
