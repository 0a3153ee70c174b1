"""Owns what params.yaml says beside a recipe's values: where they depart from the paper or the ancestor.

A departure is the comment at the end of a key's line. Aliases and merges are followed: a value that an
entry takes from another brings its comment along, one that it sets itself does not.
"""

import re
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

from gan.errors import ConfigError

_COMMENT = re.compile(r"(?:^|\s)#\s*(.*\S)\s*$")
_MERGE = "tag:yaml.org,2002:merge"


def read_departures(path: Path, dataset: str, variant: str) -> dict[str, str]:
    """Comments on a recipe's method by dotted name; under "" what is said of the entry as a whole.

    Raises ConfigError when the file has no such recipe.
    """
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    node: Node | None = YAML().compose(text)
    found = ""
    for name in ("recipes", dataset, variant, "method"):
        pairs = node.value if isinstance(node, MappingNode) else []
        pair = next((pair for pair in pairs if pair[0].value == name), None)
        if pair is None:
            raise ConfigError(f"{path}: no recipes.{dataset}.{variant}.method")
        if name == variant:
            found = _comment(pair[0], lines)
        node = pair[1]
    said = {"": found} | _walk(node, lines, "")
    return {name: comment for name, comment in said.items() if comment}


def _walk(node: Node | None, lines: list[str], prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    if not isinstance(node, MappingNode):
        return found
    merged = [value for key, value in node.value if key.tag == _MERGE]
    for value in merged:
        for held in value.value if not isinstance(value, MappingNode) else [value]:
            found = _walk(held, lines, prefix) | found
    for key, value in node.value:
        if key.tag == _MERGE:
            continue
        name = f"{prefix}{key.value}"
        found = {at: comment for at, comment in found.items() if at != name and not at.startswith(f"{name}.")}
        found |= _walk(value, lines, f"{name}.")
        # A comment after {a: 1, b: 2} is about the whole, so about the key before it.
        inside = node.flow_style and key.start_mark.line == node.start_mark.line
        found[name] = "" if inside else _comment(key, lines)
    return found


def _comment(key: Node, lines: list[str]) -> str:
    match = _COMMENT.search(lines[key.start_mark.line])
    return match.group(1) if match else ""
