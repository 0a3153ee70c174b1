"""Who may import whom: read from the sources, so that a violation is named before anything runs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A line may import its own line and the lines above it. A name stands for itself and its submodules.
LAYERS = [
    ("gan.errors",),
    ("gan.files", "gan.randomness", "gan.versions", "gan.faults"),
    ("gan.contract", "gan.distributed", "gan.device"),
    ("gan.objectives.losses", "gan.objectives.penalties"),
    ("gan.networks", "gan.optimizers", "gan.interpolation"),
    ("gan.graphs",),
    ("gan.objectives",),
    ("gan.variants", "gan.data", "gan.sampling", "gan.card", "gan.generator"),
    ("gan.metrics",),
    ("gan.extractors",),
    ("gan.training", "gan.checkpoint"),
    ("gan.config",),
    ("pipeline.environment", "pipeline.trace", "pipeline.training.interruption"),
    ("pipeline.stage",),
    ("pipeline.study",),
    ("pipeline.scores",),
    ("pipeline.drawing", "pipeline.tracking"),
    ("pipeline.training",),
    ("pipeline",),  # the stages that are one file each
    ("pipeline.schedule", "pipeline.report"),
    ("pipeline.claims",),
    ("pipeline.cli",),
]
ONLY_IN = {
    "mlflow": {"pipeline.tracking"},
    "lmdb": {"gan.data.image_store", "gan.data.store_writer"},
    "click": {"pipeline.cli"},
    "dvc": set[str](),  # DVC sees files; we run its command
    "yaml": set[str](),  # YAML 1.1 reads `1e-4` as text and `no` as false; ruamel reads what DVC reads
    "pickle": set[str](),  # loading one runs whatever it holds
}
# What must answer in a fraction of a second: importing torch takes seconds.
LIGHT = (
    "gan.errors",
    "gan.files",
    "gan.contract",
    "gan.card",
    "gan.config",
    "gan.networks.__init__",
    "gan.variants",
    "gan.metrics",
    "gan.extractors.__init__",
    "gan.versions",
    "gan.data.download",
    "gan.data.archive",
    "gan.data.convert",
    "gan.data.digits",
    "gan.data.image_folders",
    "gan.data.image_store",
    "gan.data.lmdb_pages",
    "gan.data.manifest",
    "gan.data.pixels",
    "gan.data.sources",
    "gan.data.store_manifest",
    "gan.data.store_writer",
    "gan.data.transfer",
    "gan.data.workers",
    "pipeline.environment",
    "pipeline.stage",
    "pipeline.scores",
    "pipeline.drawing",
    "pipeline.report",
    "pipeline.schedule.slots",
    "pipeline.claims.kinds",
    "pipeline.cli.data",
    "pipeline.cli.datasets",
    "pipeline.cli.doctor",
    "pipeline.cli.import_",
    "pipeline.cli.models",
    "pipeline.cli.output",
    "pipeline.cli.roster",
    "pipeline.cli.sync",
    "pipeline.cli.versions",
    "pipeline.tracking.champions",
    "pipeline.tracking.database",
    "pipeline.tracking.live",
    "pipeline.tracking.models",
    "pipeline.tracking.registration",
    "pipeline.tracking.relocation",
    "pipeline.tracking.restore",
    "pipeline.tracking.run",
    "pipeline.cli.__init__",
)
HEAVY = {"torch", "torchvision", "mlflow"}
MOST_MODULES, MOST_LINES = 18, 350  # of a folder, and of a module


def _name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


SOURCES = {_name_of(path): path for package in ("gan", "pipeline") for path in (ROOT / package).rglob("*.py")}


def _inside(module: str, owner: str) -> bool:
    return f"{module}.".startswith(f"{owner}.")


def _level(module: str) -> int:
    """Index of the module's layer; the longest name that covers it decides."""
    names = [
        (len(name), level) for level, layer in enumerate(LAYERS) for name in layer if _inside(module, name)
    ]
    assert names, f"{module} is in no layer; give it a place in LAYERS"
    return max(names)[1]


def _statements(tree: ast.AST, *, deferred: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run, those inside functions only when `deferred`; type checkers' never."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        elif deferred or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _statements(node, deferred=deferred)


def _imports(module: str, *, deferred: bool = True) -> set[str]:
    """Full names of what a module imports: `from gan import files` is gan.files."""
    found: set[str] = set()
    for node in _statements(ast.parse(SOURCES[module].read_text(encoding="utf-8")), deferred=deferred):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        assert not node.level, f"{module} imports relatively; write the full name"
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            found.add(name if name in SOURCES or f"{name}.__init__" in SOURCES else node.module)
    return found


def _stages() -> set[str]:
    return {name for name, path in SOURCES.items() if "\n    run_stage(main" in path.read_text("utf-8")}


def _path_to_heavy(module: str, seen: set[str]) -> list[str]:
    """Find a chain of imports at module level from here to a heavy package; empty when there is none."""
    for imported in sorted(_imports(module, deferred=False)):
        if imported.split(".")[0] in HEAVY:
            return [module, imported]
        parts = imported.split(".")
        for end in range(1, len(parts) + 1):  # importing a.b.c runs a and a.b too
            parent = ".".join(parts[:end])
            target = parent if parent in SOURCES else f"{parent}.__init__"
            if target not in SOURCES or target in seen:
                continue
            seen.add(target)
            if rest := _path_to_heavy(target, seen):
                return [module, *rest]
    return []


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_a_module_imports_only_its_own_layer_and_those_above(module):
    package = module.removesuffix(".__init__")
    if package in ("gan", "pipeline"):
        assert not _imports(module), f"{package}/__init__.py imports something; every module would load it"
        return
    for imported in sorted(_imports(module)):
        if imported in ("gan", "pipeline") or imported.split(".")[0] not in ("gan", "pipeline"):
            continue
        assert _level(imported) <= _level(package), f"{module} imports {imported}, which lies below it"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_a_restricted_package_is_imported_only_where_it_belongs(module):
    for imported in sorted(_imports(module)):
        owners = ONLY_IN.get(imported.split(".")[0], {module})
        assert any(_inside(module, owner) for owner in owners), (
            f"{module} imports {imported}; that belongs in {sorted(owners) or 'no module'}"
        )


def test_no_variant_imports_another_and_no_stage_another():
    variants = {name for name in SOURCES if _inside(name, "gan.variants")} - {"gan.variants.__init__"}
    stages = _stages()
    assert variants
    for siblings in (variants, stages):
        for module in sorted(siblings):
            for imported in sorted(_imports(module) & (siblings - {module})):
                pytest.fail(f"{module} imports {imported}; what both need belongs in a third module")


@pytest.mark.parametrize("module", sorted(m for m in SOURCES if any(_inside(m, name) for name in LIGHT)))
def test_a_light_module_reaches_no_heavy_package_when_imported(module):
    assert not (path := _path_to_heavy(module, {module})), " imports ".join(path)


def test_reading_params_loads_neither_torch_nor_mlflow():
    code = "import sys; from gan.config import load_params; from pathlib import Path; "
    code += "load_params(Path('params.yaml')); print(*sorted({'torch', 'mlflow'} & set(sys.modules)))"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert loaded.split() == []


def test_showing_help_loads_nothing_that_reading_params_needs():
    code = (
        "import sys, pipeline.cli; print(*sorted({'numpy', 'pydantic', 'ruamel', 'rich'} & set(sys.modules)))"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert loaded.split() == []


def test_no_two_classes_have_one_name():
    owners: dict[str, list[str]] = {}
    for module in sorted(SOURCES):
        for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                owners.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in owners.items() if len(modules) > 1} == {}


def test_a_folder_and_a_module_can_be_read_at_a_sitting():
    folders = [path.parent for name, path in SOURCES.items() if not name.endswith("__init__")]
    assert {str(folder) for folder in folders if folders.count(folder) > MOST_MODULES} == set()
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in SOURCES.items()}
    assert {name for name, lines in lengths.items() if lines > MOST_LINES} == set()
