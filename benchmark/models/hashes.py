"""Content hashes of a model's files; those of large files are remembered between runs."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_REMEMBERED_FROM = 1 << 24
"""Smaller files are hashed faster than they are looked up."""

_TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
_NOT_COMPUTATION = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")


@dataclass(frozen=True, slots=True)
class Hashes:
    """SHA-256 of the parts of a model, in hex.

    Attributes:
        weights: of the weight file, or of the list of hashes where there are several.
        config: of `config.json` without the fields that do not change the computation.
        tokenizer: of the tokenizer's files.
    """

    weights: str
    config: str
    tokenizer: str

    @property
    def content(self) -> str:
        """One hash over all three."""
        return _digest([self.weights, self.config, self.tokenizer])


def of_folder(folder: Path, cache: Path) -> Hashes:
    """Hashes of a saved Hugging Face model with safetensors weights."""
    config = json.loads((folder / "config.json").read_text())
    for field in _NOT_COMPUTATION:
        config.pop(field, None)
    return Hashes(
        weights=_of_files(weight_files(folder), cache),
        config=_digest([json.dumps(config, sort_keys=True)]),
        tokenizer=of_tokenizer(folder, cache),
    )


def of_tokenizer(folder: Path, cache: Path) -> str:
    """Hash of the tokenizer's files in a folder."""
    files = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    return _digest(f"{file.name}:{of_file(file, cache)}" for file in files)


def of_gguf(file: Path, cache: Path) -> Hashes:
    """Hashes of a GGUF file, which holds weights, configuration and tokenizer."""
    digest = of_file(file, cache)
    return Hashes(digest, digest, digest)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that `from_pretrained` reads: those of the index, or the single one."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    single = folder / "model.safetensors"
    return [single] if single.is_file() else []


def of_file(file: Path, cache: Path) -> str:
    """SHA-256 of a file; of a large one, remembered in `cache` by path, size and time of change."""
    facts = file.stat()
    if facts.st_size < _REMEMBERED_FROM:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    memory = cache / "hashes" / _digest([str(file.resolve()), str(facts.st_size), str(facts.st_mtime_ns)])
    if memory.is_file():
        return memory.read_text()
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    memory.parent.mkdir(parents=True, exist_ok=True)
    draft = memory.with_name(f"{memory.name}.{os.getpid()}-{secrets.token_hex(4)}")
    draft.write_text(digest)
    draft.replace(memory)
    return digest


def _of_files(files: list[Path], cache: Path) -> str:
    digests = [of_file(file, cache) for file in files]
    return digests[0] if len(digests) == 1 else _digest(digests)


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
