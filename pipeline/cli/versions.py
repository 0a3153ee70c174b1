"""Owns what `gantry check` notes about versions of packages. Other versions make nothing stale."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gan.card import CARD
from gan.files import read_json
from gan.versions import installed_versions
from pipeline.stage import Cell

LOCK = Path("requirements.lock")


def version_notes(cells: Iterable[Cell]) -> Iterator[str]:
    """Yield a line for each file that has other versions than are installed: the lock, cards, stamps."""
    installed = installed_versions()
    if LOCK.is_file():
        pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE))
        if found := _differences(pinned, installed):
            yield f"{LOCK} pins {found}"
    files = [
        path
        for cell in cells
        for path in (cell.evaluator / CARD, cell.reference / CARD, cell.model / CARD, cell.protocol)
    ]
    for path in dict.fromkeys(files):
        made = read_json(path).get("versions") if path.is_file() else None
        if made and (found := _differences(made, installed)):
            yield f"{path} was made with {found}"


def _differences(versions: Mapping[str, str], installed: Mapping[str, str]) -> str:
    """Say which versions differ, such as "torch 2.9.0 (2.10.0 is installed)"; "" for none."""
    return ", ".join(
        f"{name} {versions[name]} ({version} is installed)"
        for name, version in installed.items()
        if versions.get(name, version) != version
    )
