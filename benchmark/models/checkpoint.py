"""From what `--model` was given to files on this machine."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from arithloc.benchmark.api.errors import ModelError, PrerequisiteError, UnknownName, quoted
from arithloc.benchmark.api.registry import model_sources, one_line
from arithloc.benchmark.models.hashes import weight_files

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "tokenizer.model"]
_NOT_FROM_HUB = ["*/*", "consolidated*"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved model on this machine.

    Attributes:
        name: short public name.
        path: folder as `save_pretrained` writes it, or a GGUF file.
        commit: 40 hex digits of the hub revision, empty for local files.
        is_toy: a model with known circuit.
    """

    name: str
    path: Path
    commit: str = ""
    is_toy: bool = False

    @property
    def is_gguf(self) -> bool:
        """Whether it is one GGUF file."""
        return self.path.suffix == ".gguf"


def find(reference: str, cache: Path) -> Checkpoint:
    """The files that `reference` means.

    Args:
        reference: a registered name, a local folder, a `.gguf` file, or a Hugging Face id with an optional `@revision`;
            the first that exists, in this order.
        cache: where registered models are built.

    Raises:
        UnknownName: none of the four; the message says why for each, with near names.
        PrerequisiteError: a registered model that is not built yet, or a hub model behind a licence.
        ModelError: a folder without safetensors weights.
    """
    sources = model_sources()
    if reference in sources:
        source = sources[reference]
        return _with_weights(Checkpoint(source.name, source.folder(cache), is_toy=source.is_toy))
    path = Path(reference).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return Checkpoint(path.stem, path)
    if reference and path.is_dir():
        return _with_weights(Checkpoint(path.resolve().name, path))
    looks_local = reference.startswith((".", "/", "~")) or path.suffix == ".gguf" or path.exists()
    if looks_local or not _HUB_ID.fullmatch(reference):
        raise _unknown(reference, "it is not written like a Hugging Face id", list(sources))
    return _with_weights(_from_hub(reference, list(sources)))


def _from_hub(reference: str, known: list[str]) -> Checkpoint:
    name, _, revision = reference.partition("@")
    try:
        folder = snapshot_download(
            name, revision=revision or None, allow_patterns=_HUB_FILES, ignore_patterns=_NOT_FROM_HUB
        )
    except GatedRepoError as error:
        raise PrerequisiteError(
            f"The model {quoted(name)} is on the hub behind a licence. Accept it on its page, run 'hf auth login', "
            "then try again."
        ) from error
    except LocalEntryNotFoundError as error:
        why = "as a Hugging Face id it is not in the local hub cache and the hub cannot be reached"
        raise _unknown(reference, why, known) from error
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise _unknown(reference, f"for that Hugging Face id the hub answers {one_line(error)}", known) from error
    except Exception as error:  # network and disk fail in as many ways as the client's libraries have errors
        raise PrerequisiteError(
            f"Expected to download {quoted(name)} from the Hugging Face hub, but: {one_line(error)}. "
            "Check the network and the space on disk, then try again."
        ) from error
    commit = Path(folder).name
    return Checkpoint(name, Path(folder), commit if _COMMIT.fullmatch(commit) else "")


def _unknown(reference: str, why_not_hub: str, known: list[str]) -> UnknownName:
    near = difflib.get_close_matches(reference, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Registered: {', '.join(sorted(known)) or 'none'}."
    return UnknownName(
        f"No model is called {quoted(reference)}: no model of that name is registered, there is no such folder and no "
        f"such .gguf file, and {why_not_hub}. {hint}"
    )


def _with_weights(checkpoint: Checkpoint) -> Checkpoint:
    folder = checkpoint.path
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"Expected a saved Hugging Face model in {quoted(str(folder))}, found no config.json. "
            "Name the folder that save_pretrained wrote."
        )
    missing = [file.name for file in weight_files(folder) if not file.is_file()]
    if missing or not weight_files(folder):
        pickled = sorted(file.name for file in folder.glob("*.bin")) + sorted(f.name for f in folder.glob("*.pt*"))
        found = f"only pickled weights ({pickled[0]}), which could run code when read" if pickled else "none"
        raise ModelError(
            f"Expected weights in safetensors form in {quoted(str(folder))}, "
            + (f"found {missing[0]} missing. " if missing else f"found {found}. ")
            + "Save the model again with save_pretrained."
        )
    return checkpoint
