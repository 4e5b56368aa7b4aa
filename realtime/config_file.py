"""A configuration file: YAML of sections with keys, and nothing that settings never need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from realtime.errors import UserError
from realtime.reading import read_whole

MAX_BYTES = 1 << 16
"""Of which config.yaml with every setting has an eighth."""


class _Loader(yaml.SafeLoader):
    """safe_load that refuses what settings never need: aliases (alias bombs), tags, a key given twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.YAMLError(f"line {event.start_mark.line + 1}: anchors and aliases are not allowed")
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError(f"line {event.start_mark.line + 1}: tags are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for name, times in Counter(names).items():
            if times > 1:
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {name!r} is given twice")
        return super().construct_mapping(node, deep)


def read_sections(path: Path, sections_there: Collection[str], keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """The file as {section: {key: value}}, nulls left out. `keys`: the dotted ones that there are. Raises UserError."""
    data = read_whole(path, MAX_BYTES, "a configuration file, a few lines of YAML")
    try:
        tree = yaml.load(data, Loader=_Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{path}: not YAML: {where}{error.problem}; antiphon config prints an example") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a date 2001-99-99, ten thousand "["
        reason = " ".join(str(error).split()) or "unreadable"
        raise UserError(f"{path}: not YAML: {reason[:200]}; antiphon config prints an example") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        allowed = ", ".join(sections_there)
        raise UserError(f"{path}: a {type(tree).__name__} at the top level; allowed sections {allowed}")
    sections: dict[str, dict[str, Any]] = {}
    for name, section in tree.items():
        if name in sections_there and not isinstance(section, dict | None):
            keys_there = ", ".join(key for key in keys if key.startswith(f"{name}."))
            raise UserError(f"{path}: {name}: {section!r:.60} given; allowed a section with {keys_there}")
        # An unknown section may have any shape: it is refused by its name.
        pairs = section.items() if isinstance(section, dict) else ()
        sections[str(name)] = {str(key): value for key, value in pairs if value is not None}
    return sections
