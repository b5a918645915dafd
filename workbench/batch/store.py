"""Where a sweep lies: a folder, or an address that fsspec knows (``s3://``, ``gs://``, ``az://``). Files are whole or not there."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.errors import InputError


@dataclass(frozen=True)
class Store:
    """A folder by path or address. Errors of the file system pass through as `OSError`."""

    url: str

    @classmethod
    def at(cls, out: str | Path | Store) -> Store:
        """The store at a path (made absolute, so that workers find it from wherever they run) or an address."""
        if isinstance(out, Store):
            return out
        text = str(out).removeprefix("file://")
        return cls(text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute()))

    @property
    def folder(self) -> Path | None:
        """The folder, or None for an address."""
        return None if "://" in self.url else Path(self.url)

    @cached_property
    def _fs(self) -> tuple[Any, str]:
        try:
            import fsspec

            return fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"{self.url}: cannot be reached ({error}); a folder always can, addresses need `ai-workbench[scale]`"
            ) from None

    def read(self, name: str) -> bytes:
        if self.folder:
            return (self.folder / name).read_bytes()
        fs, root = self._fs
        data: bytes = fs.cat_file(f"{root}/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file that is whole or not there; missing folders are made."""
        if not self.folder:
            fs, root = self._fs
            fs.pipe_file(f"{root}/{name}", data)
            return
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            unfinished.write_bytes(data)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def names(self, folder: str = "") -> list[str]:
        """Names of the files in a folder, sorted; none where there is no such folder. What was left half-written does not count."""
        if self.folder:
            path = self.folder / folder
            found = [entry.name for entry in os.scandir(path)] if path.is_dir() else []
        else:
            fs, root = self._fs
            path_there = f"{root}/{folder}".rstrip("/")
            try:
                found = [entry.rstrip("/").rsplit("/", 1)[-1] for entry in fs.ls(path_there, detail=False)]
            except FileNotFoundError:
                found = []
        return sorted(name for name in found if not name.startswith("."))

    def sweep_up(self, folder: str) -> None:
        """Remove what writers that were killed left half-written."""
        if self.folder and (self.folder / folder).is_dir():
            for entry in os.scandir(self.folder / folder):
                if entry.name.startswith("."):
                    Path(entry.path).unlink(missing_ok=True)

    def __str__(self) -> str:
        return self.url
