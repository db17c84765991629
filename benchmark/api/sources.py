"""Which files of its own a module is made of, read from its import statements without running anything."""

import ast
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


def imported_files(file: Path, folder: Path) -> set[Path]:
    """The Python files in `folder` that `file` imports, directly or through one another; `file` itself is not added.

    What the running process happens to have imported plays no part, so that every process finds the same files.
    Imports inside functions count; names built at run time (`importlib.import_module`) cannot be seen.
    """
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        for path in _imports(waiting.pop()):
            if path.is_relative_to(folder) and path not in found and path != file:
                found.add(path)
                waiting.append(path)
    return found


def _imports(file: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except SyntaxError:  # cannot be imported either
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names, search = [alias.name for alias in node.names], sys.path
        elif isinstance(node, ast.ImportFrom):
            # `from package import module`: what is imported may be a module of the package
            base = [node.module] if node.module else []
            names = [*base, *(".".join([*base, alias.name]) for alias in node.names)]
            search = [str(file.parents[node.level - 1])] if node.level else sys.path
        else:
            continue
        for name in names:
            if path := _source_of(name, search):
                yield path


def _source_of(name: str, search: Sequence[str]) -> Path | None:
    """Source file of a module as an import would find it, None where there is none."""
    spec: ModuleSpec | None = None
    for part in name.split("."):
        spec = PathFinder.find_spec(part, search)
        if spec is None:
            return None
        search = list(spec.submodule_search_locations or ())
    path = Path(spec.origin).resolve() if spec and spec.origin else None
    return path if path and path.suffix == ".py" and "site-packages" not in path.parts else None
