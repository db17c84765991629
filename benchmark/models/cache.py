"""Where arithloc keeps what it can make again: built models and hashes of large files."""

import os
import sys
from pathlib import Path


def default_cache() -> Path:
    """`ARITHLOC_CACHE`, or `arithloc` in the user's cache folder of this platform."""
    chosen = os.environ.get("ARITHLOC_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "arithloc"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "arithloc"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arithloc"
