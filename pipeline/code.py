"""Stage `code`: per roster entry, a hash of the code that makes its weights.

The hash is over the syntax trees, without docstrings, of `pipeline.train`, of the entry's kind and its
family of networks, and of every module of `gan` that these import, directly or not. So a comment
retrains nothing, and a change in one variant's file retrains that variant. Left out are the roster, the
list of families and the configuration: they import every one, and what they read of params.yaml is a
dependency of `train` by itself.
"""

import ast
import hashlib
from pathlib import Path

from gan.config import Params
from gan.files import write_json
from pipeline.stage import run_stage

ROOTS = ["pipeline.train"]
LEFT_OUT = {"gan", "gan.config", "gan.card", "gan.networks", "gan.variants"}
OUT = Path("build/code")
HERE = Path()


def main(params: Params, _: str) -> None:
    """Write build/code/ENTRY.json for every selected entry."""
    for variant in params.select.variants:
        methods = [params.recipes[dataset][variant].method for dataset in params.select.datasets]
        kinds = {type(method).__module__ for method in methods}
        families = {f"gan.networks.{method.networks.kind}" for method in methods}
        modules = {name: digest_of(name) for name in sorted(reachable([*ROOTS, *kinds, *families]))}
        digest = hashlib.sha256(repr(sorted(modules.items())).encode()).hexdigest()
        write_json(OUT / f"{variant}.json", {"digest": digest, "modules": modules})


def reachable(roots: list[str], folder: Path = HERE) -> set[str]:
    """Find the roots and the modules of `gan` that they import, directly or not, in a checkout's folder."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [other for other in imports_of(name, folder) if other not in LEFT_OUT]
    return found


def imports_of(name: str, folder: Path = HERE) -> set[str]:
    """Names of the modules of `gan` that a module imports, anywhere in its text."""
    names: set[str] = set()
    for node in ast.walk(_tree(name, folder)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "gan" and _source(name, folder) is not None}


def digest_of(name: str, folder: Path = HERE) -> str:
    """SHA-256 of a module's syntax tree; comments, docstrings and layout don't enter it."""
    tree = _tree(name, folder)
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _tree(name: str, folder: Path) -> ast.Module:
    source = _source(name, folder)
    if source is None:
        raise ModuleNotFoundError(name)
    return ast.parse(source.read_text(encoding="utf-8"))


def _source(name: str, folder: Path) -> Path | None:
    """File of a module, found without importing it; None for a name that is no module."""
    path = folder.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


if __name__ == "__main__":
    run_stage(main, "")
