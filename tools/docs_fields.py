"""Comments ``#:`` of the fields of a record as their docstrings, so that the reference shows units."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Fields(griffe.Extension):
    """Takes the comment at the end of a field's line, or those in the lines above it."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Called for every attribute that is found."""
        if attr.docstring or attr.lineno is None:
            return
        lines = attr.filepath.read_text(encoding="utf8").splitlines()
        found = re.search(r"#: (.+)$", lines[attr.lineno - 1])
        above = []
        for line in reversed(lines[: attr.lineno - 1]):
            if not (comment := re.match(r"\s*#: (.+)$", line)):
                break
            above.insert(0, comment[1])
        if text := found[1] if found else " ".join(above):
            attr.docstring = griffe.Docstring(text, parent=attr)
