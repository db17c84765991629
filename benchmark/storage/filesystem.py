"""Refuses to put a SQLite database on a network file system, where its locks and shared memory do not work."""

import re
import subprocess
import sys
from pathlib import Path

from arithloc.benchmark.api.errors import NetworkFilesystem

_NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs afs afpfs webdav ceph lustre gpfs beegfs glusterfs orangefs pvfs2 9p virtiofs".split()
)


def filesystem_type(folder: Path, mounts: dict[str, str]) -> str:
    """Type of the file system that holds `folder`, or an empty text when no mount point is above it.

    Args:
        folder: absolute, links resolved.
        mounts: type by mount point.
    """
    above = [str(parent) for parent in (folder, *folder.parents)]
    return next((mounts[point] for point in above if point in mounts), "")


def is_network(kind: str) -> bool:
    """Whether SQLite's write-ahead log must not be kept on this type of file system; FUSE is, unless it is a disk."""
    return kind in _NETWORK or kind == "fuse" or kind.startswith("fuse.")


def parse_mountinfo(text: str) -> dict[str, str]:
    """Type by mount point from `/proc/self/mountinfo` (Linux); of stacked mounts the last one counts."""
    mounts = {}
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if separator and len(fields) >= 5:
            mounts[_unescape(fields[4])] = after.split(" ")[0]
    return mounts


def parse_mount_list(text: str) -> dict[str, str]:
    """Type by mount point from the output of `mount` (macOS): `server:/x on /Volumes/x (nfs, nodev)`."""
    lines = (re.fullmatch(r".* on (/.*) \(([^,)]+).*\)", line) for line in text.splitlines())
    return {match[1]: match[2] for match in lines if match}


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mounted() -> dict[str, str]:
    """Type by mount point on this machine; empty where the system does not tell."""
    table = Path("/proc/self/mountinfo")
    if table.exists():
        return parse_mountinfo(table.read_text(encoding="utf-8", errors="surrogateescape"))
    if sys.platform == "darwin":
        listed = subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False)
        return parse_mount_list(listed.stdout)
    return {}


def check_local(folder: Path, mounts: dict[str, str] | None = None) -> str:
    """Type of the file system under a database folder.

    Args:
        folder: may not exist yet.
        mounts: type by mount point; those of this machine when not given.

    Raises:
        NetworkFilesystem: a network disk.
    """
    kind = filesystem_type(folder.resolve(), mounted() if mounts is None else mounts)
    if is_network(kind):
        raise NetworkFilesystem(
            f"Expected a local disk for the results database, found {kind} at {folder}, which cannot lock SQLite files. "
            "Put --db on a local disk, name a PostgreSQL server, or join databases of several machines with bench merge."
        )
    return kind
