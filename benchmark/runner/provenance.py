"""Where results were computed: versions, commit, processor, numerics. No host or user names."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import arithloc.benchmark
from arithloc.benchmark.api.registry import OWN
from arithloc.benchmark.storage.records import Environment

_PLUGIN_GROUPS = ("arithloc.methods", "arithloc.tasks", "arithloc.models", "arithloc.analyses")


def environment() -> Environment:
    """Describes this process; imports torch, so it runs in the worker."""
    import torch

    commit, dirty = _code_state(Path(str(arithloc.benchmark.__file__)).resolve().parents[1])
    return Environment(
        python=platform.python_version(),
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=processor(),
        gpu=torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
        packages=packages(),
        code_version=metadata.version(OWN),
        code_commit=commit,
        code_dirty=dirty,
        determinism=_numerics(torch),
    )


def packages() -> dict[str, str]:
    """Name and version of every installed distribution that this process has imported, and of every plugin."""
    owners = metadata.packages_distributions()
    roots = {name.partition(".")[0] for name in sys.modules}
    names = {owner for root in roots for owner in owners.get(root, ())}
    names |= {entry.dist.name for group in _PLUGIN_GROUPS for entry in metadata.entry_points(group=group) if entry.dist}
    return {name: metadata.version(name) for name in sorted(names)}


def processor() -> str:
    """Model name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _code_state(root: Path) -> tuple[str, bool]:
    """Commit and dirty flag of the checkout that this package runs from; empty for an installed wheel."""
    if not ((root / ".git").exists() and (root / "pyproject.toml").exists()):
        return "", False
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit.strip(), bool(changed.strip())


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 (fixed arguments)
            ["git", "-C", str(root), *arguments],  # noqa: S607 (the user's own git)
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""  # no git on this machine, or not a usable checkout: provenance then names the version only
    return done.stdout


def _numerics(torch: Any) -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "tf32_cudnn": torch.backends.cudnn.allow_tf32,
        "cuda": torch.version.cuda or "",
    }
