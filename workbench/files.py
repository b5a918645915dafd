"""Files that are whole or not there: in a folder, or behind an address that fsspec knows (``s3://``, ``gs://``, ``az://``)."""

from __future__ import annotations

import os
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.errors import InputError, refused, said

LONGEST = 90  #: a socket's path must fit into 104 bytes on some systems


@dataclass(frozen=True)
class Store:
    """A folder by path or address. Errors of the file system pass through as `OSError`."""

    url: str

    @classmethod
    def at(cls, out: str | Path) -> Store:
        """The store at a path (made absolute, so that workers find it from wherever they run) or an address."""
        text = str(out).removeprefix("file://")
        kind, address, place = text.partition("://")
        if not address:
            return cls(str(Path(text).expanduser().absolute()))
        if not place.strip("/"):
            raise InputError(f"{out}: an address goes on behind {kind}://, with a bucket or a folder")
        return cls(text.rstrip("/"))

    @property
    def folder(self) -> Path | None:
        """The folder, or None for an address."""
        return None if "://" in self.url else Path(self.url)

    @cached_property
    def _fs(self) -> tuple[Any, str]:
        try:
            import fsspec

            return fsspec.core.url_to_fs(self.url)
        except Exception as error:  # an unknown kind of address, a package that is missing, credentials that are wrong
            hint = "a folder always can, addresses need `ai-workbench[scale]`"
            raise InputError(f"{self.url}: cannot be reached ({error}); {hint}") from None

    def _there(self, do: str, name: str, *given: Any, **how: Any) -> Any:
        fs, root = self._fs
        try:
            return getattr(fs, do)(f"{root}/{name}".rstrip("/"), *given, **how)
        except OSError:
            raise
        except Exception as error:  # each kind of address raises its own
            raise OSError(said(error)) from None

    def make(self) -> None:
        """Make the folder, or see whether the address can be reached."""
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
        else:
            self.names()

    def read(self, name: str = "") -> bytes:
        data: bytes = (self.folder / name).read_bytes() if self.folder else self._there("cat_file", name)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file that is whole or not there; missing folders are made."""
        if not self.folder:
            self._there("pipe_file", name, data)
            return
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            unfinished.write_bytes(data)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            (self.folder / name).unlink() if self.folder else self._there("rm_file", name)

    def names(self, folder: str = "") -> list[str]:
        """Names of the files in a folder, sorted; none where there is no such folder. What was left half-written does not count."""
        found: list[str] = []
        with suppress(FileNotFoundError, NotADirectoryError):
            if self.folder:
                found = os.listdir(self.folder / folder)
            else:
                found = [entry.rstrip("/").rsplit("/", 1)[-1] for entry in self._there("ls", folder, detail=False)]
        return sorted(name for name in found if not name.startswith("."))

    def sweep_up(self, folder: str) -> None:
        """Remove what writers that were killed left half-written."""
        for unfinished in (self.folder / folder).glob(".*") if self.folder else ():
            unfinished.unlink(missing_ok=True)

    def __str__(self) -> str:
        return self.url


def place(folder: str | Path, name: str) -> str | Path:
    """Path or address of a file."""
    return f"{str(folder).rstrip('/')}/{name}" if "://" in str(folder) else Path(folder) / name


def read(path: str | Path) -> bytes:
    """The file at a path or an address. Raises `OSError` as the file system does."""
    return Store.at(path).read()


def write(path: str | Path, text: str) -> None:
    """Write a text file at a path or an address, whole or not at all; missing folders are made.

    Raises `InputError` for a file that cannot be written, with path and reason; what was there before stays.
    """
    with refused(f"{path}: cannot be written"):
        Store.at(path).write("", text.encode("utf8", "replace"))  # half of a surrogate pair is no character


def private_folder() -> Path:
    """A new folder that only this user may enter, on a path short enough for sockets."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix=f"workbench-{os.getpid()}-", dir=usual if len(usual) < LONGEST - 45 else "/tmp"))
