"""Owns studies: files that hold a selection, and how one of them gets into params.yaml, comments kept."""

import re
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gan.config import SelectParams, load_params
from gan.contract import StrictModel
from gan.errors import ConfigError
from gan.files import write_bytes

STUDIES = Path("studies")
DEFAULT = "default"
WIDTH = 140  # of a line of params.yaml


class Study(StrictModel):
    """The whole of a study's file."""

    select: SelectParams


def read_study(name: str) -> SelectParams:
    """Read studies/NAME.yaml. Raises ConfigError, naming the studies there are when there isn't this one."""
    path = STUDIES / f"{name}.yaml"
    known = sorted(study.stem for study in STUDIES.glob("*.yaml"))
    if name not in known:
        raise ConfigError(f"no study {name!r}; there are {', '.join(known) or f'none in {STUDIES}/'}")
    try:
        return Study.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8"))).select
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def select_study(name: str, path: Path) -> SelectParams:
    """Write a study's selection into params.yaml; every other line stays as it is, byte for byte.

    The result is checked before it gets the name. Raises ConfigError with what is wrong with it.
    """
    selection = read_study(name)
    text = replace_selection(path.read_text(encoding="utf-8"), selection.model_dump())
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / path.name
        candidate.write_text(text, encoding="utf-8")
        try:
            load_params(candidate)
        except ConfigError as error:
            faults = str(error).replace(str(candidate), f"{path} with {STUDIES / name}.yaml")
            raise ConfigError(f"{faults}\nnothing was written") from error
    write_bytes(path, text.encode())
    return selection


def check_default(selection: SelectParams) -> None:
    """Raise ConfigError when this isn't the selection that is to be committed."""
    if selection != read_study(DEFAULT):
        raise ConfigError(
            f"params.yaml: its selection isn't that of {STUDIES / DEFAULT}.yaml; "
            f"run 'gantry select {DEFAULT}', or change the default study too"
        )


def replace_selection(text: str, selection: Mapping[str, Any]) -> str:
    """Replace the values of the block `select:`. Comments above its keys and behind them stay with them."""
    lines = text.splitlines(keepends=True)
    begin = next((index for index, line in enumerate(lines) if line.startswith("select:")), None)
    if begin is None:
        raise ConfigError("params.yaml: no line begins with 'select:'; write that block first")
    end = begin + 1
    for index in range(begin + 1, len(lines)):
        if re.match(r"[^\s#]", lines[index]):
            break
        if lines[index].startswith(" ") and lines[index].strip():
            end = index + 1
    comments = {
        found[1]: found[2]
        for line in lines[begin + 1 : end]
        if (found := re.match(r"\s+(\w+):.*?(\s+#.*)$", line.rstrip("\r\n")))
    }
    above = _comments_above(lines[begin + 1 : end])
    block = [
        "".join(above.get(key, [])) + _entry(key, value) + comments.get(key, "") + "\n"
        for key, value in selection.items()
    ]
    return "".join([*lines[: begin + 1], *block, *lines[end:]])


def _comments_above(lines: Sequence[str]) -> dict[str, list[str]]:
    """Find the whole lines of comment that stand directly above each key of a block."""
    above: dict[str, list[str]] = {}
    waiting: list[str] = []
    for line in lines:
        if re.match(r"\s+#", line):
            waiting.append(line)
            continue
        if found := re.match(r"\s+(\w+):", line):
            above[found[1]] = waiting
        waiting = []
    return above


def _entry(key: str, value: Any) -> str:
    """Write one key of the block; a long list goes on in the next line, indented."""
    values = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
    return "\n".join(textwrap.wrap(f"  {key}: {values}", WIDTH, subsequent_indent=" " * (len(key) + 5)))
