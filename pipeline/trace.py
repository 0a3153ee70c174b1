"""Owns digests of the code that a stage, a recipe's training or a score depends on.

A stage's code is its own file, every module that it imports, directly or not, and the files beside those
modules that they name: templates, style sheets, YAML. Comments, docstrings, layout and the texts of
`raise` and of calls of `logging` are left out, so that they make nothing stale.

Training is traced more finely, since it takes hours: each recipe depends only on what it trains with.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

STAGES = (
    "download convert contact evaluator reference trajectory sample evaluate register collect "
    "champion report claims"
).split()
# What computes a score, from sampling on; its digest is in the stamp (pipeline.scores.protocol).
SCORING = ["pipeline.evaluate", "pipeline.reference", "pipeline.sample", "gan.sampling"]
# Stages that run, or stamp, more than the module of their name.
ROOTS = {
    "claims": ["pipeline.claims.__main__"],
    "evaluate": SCORING,
    "report": ["pipeline.report.__main__"],
}
# The package's version, and the rosters, which import every variant and every family of networks. What a
# stage does with an entry depends on its model, whose card has the digest of the entry's own code.
ROSTERS = frozenset({"gan", "gan.networks", "gan.variants"})
# Imports the models of all parameters: digested, but its imports are not followed.
LEAVES = frozenset({"gan.config"})
# Reading parameters and writing cards affects weights only through the method, which is recorded beside
# the digest; classes of errors, and the way that a run is interrupted, don't affect them at all.
NOT_TRAINED_WITH = ROSTERS | {
    "gan.card",
    "gan.config",
    "gan.errors",
    "gan.versions",
    "pipeline.training.interruption",
}
# Where the code that can change weights lies. The rest of `pipeline` asks for a training, shows or logs it.
TRAINED_WITH = ("gan", "pipeline.training")
HERE = Path()


def trace_stage(stage: str, folder: Path = HERE) -> dict[str, Any]:
    """Digest the code that a stage runs; for training, see `trace_training`."""
    return trace(ROOTS.get(stage, [f"pipeline.{stage}"]), ROSTERS, folder=folder)


def trace(
    roots: list[str],
    left_out: Collection[str],
    packages: Collection[str] = ("gan", "pipeline"),
    folder: Path = HERE,
) -> dict[str, Any]:
    """Digest the code that modules run: {"digest": ..., "modules": {name: digest}, "files": {path: digest}}.

    left_out: modules that are neither digested nor followed. packages: those whose modules are followed.
    """
    names = sorted(reachable(roots, folder, left_out, packages))
    modules = {name: digest_of(name, folder) for name in names}
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files_named_by(names, folder))
    }
    return {"digest": _digest([modules, files]), "modules": modules, "files": files}


def trace_training(method: BaseModel) -> dict[str, Any]:
    """Digest the code that makes the weights of recipes whose methods have these types.

    It follows what the stage, the variant and its family of networks import from `gan` and from
    pipeline.training; from the rosters it takes only the classes of the method itself.
    """
    family = f"gan.networks.{method.networks.kind}"  # type: ignore[attr-defined]
    traced = trace(["pipeline.train", type(method).__module__, family], NOT_TRAINED_WITH, TRAINED_WITH)
    rosters = {model for model in models_of(method) if model.__module__ in NOT_TRAINED_WITH}
    classes = {f"{model.__module__}:{model.__name__}": _digest_of_class(model) for model in rosters}
    modules = dict(sorted((traced["modules"] | classes).items()))  # types are hashed by address: no order
    return {"digest": _digest([modules, traced["files"]]), "modules": modules}


def models_of(value: object) -> Iterator[type]:
    """Yield the classes of `gan` that a model and, recursively, its fields are made of."""
    if isinstance(value, BaseModel):
        yield from (model for model in type(value).__mro__ if model.__module__.startswith("gan."))
        for name in type(value).model_fields:
            yield from models_of(getattr(value, name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from models_of(item)


def reachable(
    roots: Iterable[str],
    folder: Path = HERE,
    left_out: Collection[str] = NOT_TRAINED_WITH,
    packages: Collection[str] = ("gan",),
) -> set[str]:
    """Find the roots and the modules that they import, directly or not, in a checkout's folder."""
    reached: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            imported = imports_of(name, folder) if name not in LEAVES else set()
            imported |= set(accumulate(name.split(".")[:-1], "{}.{}".format))  # Python runs these too
            waiting += [n for n in imported if _inside(n, packages) and n not in left_out]
    return reached


def _inside(name: str, packages: Iterable[str]) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def imports_of(name: str, folder: Path = HERE) -> set[str]:
    """Names of the project's modules that a module imports, anywhere in its text."""
    return {imported for imported in _read(name, folder).imports if _source(imported, folder) is not None}


def files_named_by(names: Iterable[str], folder: Path = HERE) -> set[Path]:
    """Find the files beside modules that they name in a string, or that such a file names in its turn."""
    paths: set[Path] = set()
    for name in names:
        place = _source(name, folder).parent  # type: ignore[union-attr]
        waiting = list(_read(name, folder).file_names)
        while waiting:
            path = place / waiting.pop()
            if path not in paths and path.is_file():
                paths.add(path)
                waiting += re.findall(r'"([\w.]+\.\w+)"', path.read_text(encoding="utf-8"))
    return paths


def digest_of(name: str, folder: Path = HERE) -> str:
    """SHA-256 of a module's syntax tree, without comments, docstrings, layout and messages."""
    return _read(name, folder).digest


def _digest_of_class(model: type, folder: Path = HERE) -> str:
    return _read(model.__module__, folder).classes[model.__name__]


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


class _Silence(ast.NodeTransformer):
    """Removes what only a reader sees: docstrings, and the texts of errors and log lines."""

    def _without_docstring(self, node: Any) -> Any:
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _without_docstring

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return _without_texts(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        function = node.func
        logs = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
        if logs and function.value.id == "logging":  # type: ignore[attr-defined]
            return _without_texts(node)
        return self.generic_visit(node)


def _without_texts(node: ast.AST) -> ast.AST:
    """Empty every string in a tree, and every f-string with its expressions."""

    class Empty(ast.NodeTransformer):
        def visit_JoinedStr(self, _: ast.JoinedStr) -> ast.AST:
            return ast.Constant("")

        def visit_Constant(self, constant: ast.Constant) -> ast.AST:
            return ast.Constant("") if isinstance(constant.value, str) else constant

    return Empty().visit(node)  # type: ignore[no-any-return]


class _Module(NamedTuple):
    """Facts about a module's source, which is parsed once."""

    digest: str
    classes: dict[str, str]  # name of a class: its digest
    imports: frozenset[str]  # of the project, some of them names inside a module
    file_names: frozenset[str]  # strings that could name a file beside it


def _read(name: str, folder: Path) -> _Module:
    source = _source(name, folder)
    if source is None:
        raise ModuleNotFoundError(name)
    state = source.stat()
    return _parse(source.absolute(), state.st_mtime_ns, state.st_size)


@cache
def _parse(source: Path, _changed: int, _size: int) -> _Module:
    tree: ast.Module = _Silence().visit(ast.parse(source.read_text(encoding="utf-8")))
    imports: set[str] = set()
    strings: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
    classes = {node.name: _digest(ast.dump(node)) for node in tree.body if isinstance(node, ast.ClassDef)}
    return _Module(
        _digest(ast.dump(tree)),
        classes,
        frozenset(name for name in imports if name.split(".")[0] in ("gan", "pipeline")),
        frozenset(text for text in strings if re.fullmatch(r"[\w.]+\.\w+", text) and ".py" not in text),
    )


def _source(name: str, folder: Path) -> Path | None:
    """File of a module, without importing it; None for a name that isn't a module."""
    path = folder.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
