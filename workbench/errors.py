"""Errors of the workbench. Each message names what was wrong, where, and what was allowed."""

import difflib
import traceback
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager


class WorkbenchError(ValueError):
    """Any input the workbench refuses."""


class InputError(WorkbenchError):
    """An argument, a parameter or a file that cannot be used as given."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it: the message, and the line of the cell that met it, without the frames of the workbench."""
        cells = [frame for frame in traceback.extract_tb(self.__traceback__) if "ipykernel" in frame.filename]
        met = [f"----> {cells[-1].lineno} {cells[-1].line}"] if cells and "check_parameters" not in str(cells[-1].line) else []
        return [f"\x1b[31m{type(self).__name__}\x1b[0m: {self}", *met]


class UnknownName(InputError):
    """A name that is not in a table, with the nearest names that are."""

    def __init__(self, kind: str, name: object, known: Iterable[str]):
        self.kind, self.name = kind, name
        names = sorted(known)
        self.nearest = nearest(str(name), names)
        super().__init__(f"unknown {kind} {name!r}; {hint(name, names, n=5)} ({len(names)} in all)")


class DataError(WorkbenchError):
    """A table that breaks its declaration, with path, row and column."""

    def __init__(self, path: object, reason: str, *, row: int | None = None, column: str | None = None):
        self.path, self.row, self.column, self.reason = str(path), row, column, reason
        where = [str(path)]
        if row is not None:
            where.append(f"row {row}")
        if column is not None:
            where.append(f"column {column!r}")
        super().__init__(f"{', '.join(where)}: {reason}")


@contextmanager
def refused(what: str, kinds: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Within it an error of these kinds becomes an `InputError` that says `what`, and why; ours pass as they are."""
    try:
        yield
    except WorkbenchError:
        raise
    except kinds as error:
        raise InputError(f"{what} ({(error.strerror or error) if isinstance(error, OSError) else said(error)})") from None


def said(error: BaseException) -> str:
    """An error in one line, for a message of ours: its kind and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].rstrip(": ")


def hint(name: object, known: Collection[str], otherwise: str = "known", n: int = 3) -> str:
    """The end of a message on a name that is not known: the nearest of those that are, or else the first sixteen of them."""
    close = nearest(str(name), known, n)
    return f"nearest: {', '.join(close)}" if close else f"{otherwise}: {', '.join([*known][:16])}"


def nearest(name: str, known: Iterable[str], n: int = 5) -> list[str]:
    """The `n` names most like `name`, whatever their case; names that contain it come first."""
    by_fold = {k.casefold(): k for k in known}
    fold = name.casefold()
    containing = sorted((k for k in by_fold if fold and (fold in k or k in fold)), key=lambda k: abs(len(k) - len(fold)))
    close = difflib.get_close_matches(fold, by_fold, n=n, cutoff=0.5)
    return [by_fold[k] for k in dict.fromkeys([*containing, *close])][:n]
