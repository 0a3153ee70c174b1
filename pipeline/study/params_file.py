"""Owns every edit of params.yaml and of recipes as text: what isn't edited stays as it is, byte for byte."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode

from gan.errors import ConfigError

WIDTH = 140  # of a line of params.yaml


def replace_selection(text: str, selection: Mapping[str, Any]) -> str:
    """Replace the values of the block `select:`. Comments above its keys and behind them stay with them."""
    lines = text.splitlines(keepends=True)
    begin, end = _find_block(lines, "select")
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


def append_line(text: str, block: str, line: str) -> str:
    """Add a line at the end of a top-level block; every other line stays as it is."""
    lines = text.splitlines(keepends=True)
    _, end = _find_block(lines, block)
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    return "".join([*lines[:end], f"{line}\n", *lines[end:]])


def replace_value(text: str, keys: Sequence[str], value: str) -> str:
    """Replace the one value that these keys lead to. Raises ConfigError when there is none."""
    node = YAML().compose(text)
    for key in keys:
        held = {name.value: child for name, child in node.value} if isinstance(node, MappingNode) else {}
        if key not in held:
            raise ConfigError(f"no key {'.'.join(keys)}")
        node = held[key]
    return text[: node.start_mark.index] + value + text[node.end_mark.index :]


def _find_block(lines: Sequence[str], block: str) -> tuple[int, int]:
    """Find the line that begins a top-level block, and the one after its last."""
    begin = next((index for index, line in enumerate(lines) if line.startswith(f"{block}:")), None)
    if begin is None:
        raise ConfigError(f"params.yaml: no line begins with '{block}:'; write that block first")
    end = begin + 1
    for index in range(begin + 1, len(lines)):
        if re.match(r"[^\s#]", lines[index]):
            break
        if lines[index].startswith(" ") and lines[index].strip():
            end = index + 1
    return begin, end


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
