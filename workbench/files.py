"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.errors import InputError


def write(path: str | Path, text: str) -> None:
    """Write a text file under a temporary name in the same folder, then rename it; missing folders are made.

    Raises
    ------
    InputError
        For a file that cannot be written, with path and reason; what stood there before stays.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_text(text, encoding="utf8")
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
