"""Tensors and documents as files named by the SHA-256 of their content: written once, never changed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from jaxtyping import Shaped
from numpy import ndarray

from arithloc.benchmark.api.errors import ArtifactCorrupt, ArtifactMissing
from arithloc.benchmark.storage.atomic import atomic_write
from arithloc.benchmark.storage.text import canonical_json, now

SAFETENSORS = "application/vnd.safetensors"
JSON = "application/json"
_NOTES = "arithloc"
_EXTENSIONS = {SAFETENSORS: "safetensors", JSON: "json"}


@dataclass(frozen=True)
class Artifact:
    """One file.

    Attributes:
        sha256: hash of the content, 64 hex digits.
        kind: what it holds: `scores`, `values` or `truth`.
        size: bytes.
        media_type: format of the file.
        created_at: when it was first written.
    """

    sha256: str
    kind: str
    size: int
    media_type: str
    created_at: str


class Artifacts:
    """The files of one results folder."""

    def __init__(self, results: Path) -> None:
        self.root = results / "artifacts"
        self.temporary = results / "tmp"

    def path(self, sha256: str, media_type: str) -> Path:
        """Where the file of this content is, or would be."""
        return self.root / sha256[:2] / f"{sha256}.{_EXTENSIONS[media_type]}"

    def put(self, data: bytes, kind: str, media_type: str) -> Artifact:
        """Stores content; a file that is already there whole is left alone.

        Raises:
            StorageError: it cannot be written.
        """
        artifact = Artifact(hashlib.sha256(data).hexdigest(), kind, len(data), media_type, now())
        target = self.path(artifact.sha256, media_type)
        if not (target.is_file() and target.read_bytes() == data):
            atomic_write(target, data, self.temporary)
        return artifact

    def put_arrays(self, arrays: Mapping[str, Shaped[ndarray, "..."]], kind: str, **notes: Any) -> Artifact:
        """Stores named arrays, with `notes` as JSON in the header of the file."""
        plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        header = {_NOTES: canonical_json(notes)}  # one entry: the library does not fix the order of several
        return self.put(safetensors.numpy.save(plain, header), kind, SAFETENSORS)

    def put_document(self, document: Mapping[str, Any], kind: str) -> Artifact:
        """Stores a JSON document in canonical form."""
        return self.put(canonical_json(document).encode(), kind, JSON)

    def get(self, sha256: str, media_type: str) -> bytes:
        """Content of a file, checked against its hash.

        Raises:
            ArtifactMissing: it is not there.
            ArtifactCorrupt: it does not have this hash.
        """
        file = self.path(sha256, media_type)
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            raise ArtifactMissing(
                f"Expected the file {file}, found none. Copy the artifacts folder of these results beside the database."
            ) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ArtifactCorrupt(f"The content of {file} does not match its name. Restore it from a copy.")
        return data

    def arrays(self, sha256: str) -> dict[str, Shaped[ndarray, "..."]]:
        """Arrays stored by `put_arrays`."""
        return safetensors.numpy.load(self.get(sha256, SAFETENSORS))

    def notes(self, sha256: str) -> dict[str, Any]:
        """Notes stored by `put_arrays`."""
        data = self.get(sha256, SAFETENSORS)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return dict(json.loads(header["__metadata__"][_NOTES]))

    def document(self, sha256: str) -> Any:
        """Document stored by `put_document`."""
        return json.loads(self.get(sha256, JSON))
