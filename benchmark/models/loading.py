"""Loading a subject model with Hugging Face code, from files only and without running any of theirs."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

from arithloc.benchmark.api.errors import (
    BadOption,
    ModelError,
    NoFastTokenizer,
    OutOfMemory,
    PrerequisiteError,
    quoted,
)
from arithloc.benchmark.api.registry import one_line
from arithloc.benchmark.models import hashes
from arithloc.benchmark.models.anatomy import anatomy_of, family
from arithloc.benchmark.models.cache import default_cache
from arithloc.benchmark.models.checkpoint import Checkpoint, find
from arithloc.benchmark.models.identity import ModelIdentity
from arithloc.benchmark.models.subject import SubjectModel, wrap
from arithloc.benchmark.models.validation import validate

DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}
HALF = ("float16", "bfloat16")
_VOCABULARY_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
_PINNABLE = ("eager", "sdpa")


def load(reference: str, *, device: str = "cpu", dtype: str = "float32", cache: Path | None = None) -> SubjectModel:
    """Loads a model, names its parts and checks them.

    Nothing but data is read: safetensors or GGUF weights, JSON, no pickles, no code from the model's repository.
    Attention runs in the implementation that the model's `config.json` pins with `attn_implementation` ("eager" for
    the toys, whose weights are so large that a fused kernel's rounding shows), else in the fastest one of
    transformers that is exact for the family: "sdpa", or "eager" where there is none (GPT-J, Gemma 2).

    Args:
        reference: a registered name, a local folder, a `.gguf` file, or a Hugging Face id with an optional `@revision`.
        device: a torch device, or `auto` to spread the model over all of them.
        dtype: `float32`, `float64`, `bfloat16` or `float16`; a float64 model computes in float64 throughout.
        cache: where registered models are built and hashes remembered; `default_cache()` where None.

    Raises:
        UnknownName: nothing of that name, here or on the hub.
        BadOption: no such dtype or device.
        PrerequisiteError: the model is not built yet, or the device is not there.
        NoFastTokenizer: its tokenizer cannot give token offsets.
        UnsupportedArchitecture: no anatomy for its model type.
        AdapterCheckFailed: its anatomy is wrong.
        OutOfMemory: it does not fit the device.
        ModelError: its files are unusable, or a half dtype on a toy.
    """
    if dtype not in DTYPES:
        raise BadOption(f"Expected a dtype among {', '.join(DTYPES)}, found {quoted(dtype)}. Choose one of them.")
    _check_device(device)
    cache = cache or default_cache()
    checkpoint = find(reference, cache)
    with quiet():
        config = _config(checkpoint)
        anatomy = anatomy_of(config)
        _check_dtype(checkpoint, config, dtype)
        tokenizer = _tokenizer(checkpoint)
        module = _module(checkpoint, config, device, DTYPES[dtype])
    found = hashes.of_gguf(checkpoint.path, cache) if checkpoint.is_gguf else hashes.of_folder(checkpoint.path, cache)
    identity = ModelIdentity(
        revision=checkpoint.commit or found.content,
        weights_hash=found.weights,
        config_hash=found.config,
        tokenizer_hash=found.tokenizer,
        family=anatomy.model_type,
        n_params=sum(parameter.numel() for parameter in module.parameters()),
        is_toy=checkpoint.is_toy,
    )
    subject = wrap(checkpoint.name, module, tokenizer, identity, anatomy)
    validate(subject)
    return subject


def load_tokenizer(reference: str, *, cache: Path | None = None) -> tuple[Any, str]:
    """The tokenizer of a model, and the hash of its files, without reading any weights.

    Args:
        reference: as for `load`, or a folder that holds a tokenizer alone.
        cache: as for `load`.

    Raises:
        UnknownName: nothing of that name, here or on the hub.
        PrerequisiteError: the model is not built yet.
        NoFastTokenizer: its tokenizer cannot give token offsets.
        ModelError: a folder with neither a model nor a tokenizer.
    """
    cache = cache or default_cache()
    folder = Path(reference).expanduser()
    if reference and (folder / "tokenizer.json").is_file():
        checkpoint = Checkpoint(folder.resolve().name, folder)
    else:
        checkpoint = find(reference, cache)
    with quiet():
        tokenizer = _tokenizer(checkpoint)
    if checkpoint.is_gguf:
        return tokenizer, hashes.of_gguf(checkpoint.path, cache).tokenizer
    return tokenizer, hashes.of_tokenizer(checkpoint.path, cache)


def _source(checkpoint: Checkpoint) -> tuple[str, dict[str, Any]]:
    """First argument and options of every `from_pretrained` call."""
    common = {"local_files_only": True, "trust_remote_code": False}
    if checkpoint.is_gguf:
        return str(checkpoint.path.parent), {**common, "gguf_file": checkpoint.path.name}
    return str(checkpoint.path), common


def _config(checkpoint: Checkpoint) -> Any:
    if not checkpoint.is_gguf:
        # transformers would ask to run the repository's own code for a model type that it does not know
        text = (checkpoint.path / "config.json").read_text()
        try:
            model_type = json.loads(text)["model_type"]
        except (ValueError, KeyError, TypeError) as error:
            raise _unusable(checkpoint, error) from error
        family(str(model_type))
    source, options = _source(checkpoint)
    try:
        return AutoConfig.from_pretrained(source, **options)
    except Exception as error:  # a stranger's files can make transformers raise anything
        raise _unusable(checkpoint, error) from error


def _tokenizer(checkpoint: Checkpoint) -> Any:
    # for some families transformers makes up an almost empty tokenizer where there is no file
    if not checkpoint.is_gguf and not any((checkpoint.path / name).is_file() for name in _VOCABULARY_FILES):
        raise _no_tokenizer(checkpoint, "no tokenizer file")
    source, options = _source(checkpoint)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except Exception as error:  # a stranger's files can make transformers raise anything
        raise _no_tokenizer(checkpoint, one_line(error)) from error
    if not tokenizer.is_fast:
        raise _no_tokenizer(checkpoint, f"{type(tokenizer).__name__}, which is slow")
    return tokenizer


def _no_tokenizer(checkpoint: Checkpoint, found: str) -> NoFastTokenizer:
    return NoFastTokenizer(
        f"Expected a fast tokenizer (tokenizer.json) beside {quoted(checkpoint.name)}, found {found}. "
        "Save its fast tokenizer into the same folder."
    )


def _module(checkpoint: Checkpoint, config: Any, device: str, dtype: torch.dtype) -> Any:
    source, options = _source(checkpoint)
    if config._attn_implementation not in _PINNABLE:
        config._attn_implementation = None
    if checkpoint.is_gguf:
        options["quantization_config"] = GgufConfig(dequantize=True)
    else:
        options |= {"config": config, "use_safetensors": True}
    if device != "cpu":
        options["device_map"] = "auto" if device == "auto" else {"": device}
    auto: Any = AutoModelForCausalLM
    try:
        module, info = auto.from_pretrained(source, dtype=dtype, output_loading_info=True, **options)
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            f"The model {quoted(checkpoint.name)} does not fit {device} as {dtype}. Use a smaller dtype or --device auto."
        ) from error
    except Exception as error:  # a stranger's files can make transformers raise anything
        raise _unusable(checkpoint, error) from error
    if info["missing_keys"]:
        raise ModelError(
            f"Expected all weights of {type(module).__name__} in {quoted(checkpoint.name)}, found "
            f"{len(info['missing_keys'])} missing, {quoted(min(info['missing_keys']))} first. Save the model again."
        )
    if any(parameter.is_meta for parameter in module.parameters()):
        raise OutOfMemory(
            f"The model {quoted(checkpoint.name)} does not fit the devices and would be read from disk at every step. "
            "Use a smaller dtype or more devices."
        )
    return module


def _unusable(checkpoint: Checkpoint, error: BaseException) -> ModelError:
    return ModelError(
        f"Expected a model that transformers {transformers.__version__} can load in {quoted(checkpoint.name)}, but: "
        f"{one_line(error)}. Save it again with save_pretrained."
    )


def _check_device(device: str) -> None:
    if device == "auto":
        return
    try:
        parsed = torch.device(device)
    except RuntimeError as error:
        raise BadOption(
            f"Expected a device such as cpu, cuda, cuda:1, mps or auto, found {quoted(device)}. Choose one of them."
        ) from error
    try:
        torch.empty(1, device=parsed).item()
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        raise PrerequisiteError(
            f"Expected the device {quoted(device)}, but: {one_line(error)}. Use --device cpu, or install a torch for it."
        ) from error


def _check_dtype(checkpoint: Checkpoint, config: Any, dtype: str) -> None:
    """A compiled toy holds numbers such as 1e12 that half types do not have; its config says so."""
    if getattr(config, "arithloc_dtype_min", None) == "float32" and dtype in HALF:
        raise ModelError(
            f"Expected float32 or float64 for {quoted(checkpoint.name)}, found {dtype}, which cannot hold its weights. "
            "Use --dtype float32."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the progress bars and notes of transformers inside; errors are raised, not printed."""
    log: Any = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        # the bar over GGUF tensors cannot be switched off, only sent elsewhere
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
