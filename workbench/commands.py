"""Commands of `workbench` kept apart, so that `cli` is read in one sitting: `diff`, `mcp`."""

from typing import Annotated

import typer

from workbench.errors import InputError


def diff(
    old: Annotated[str, typer.Argument(help="An executed notebook, a sweep, or a folder of executed notebooks.")],
    new: Annotated[str, typer.Argument(help="What came later: another run or sweep of the same notebook.")],
    why: Annotated[bool, typer.Option("--why", help="Of two single runs: run again with each input set back, one at a time.")] = False,
) -> None:
    """Compare two runs or sweeps: which results moved, by how much, and because of which input or table."""
    from workbench.batch.diff import lines

    for line in lines(old, new, why):
        print(line)


def mcp() -> None:
    """Serve the catalogue and the questions of a planner as tools to an agent's host, over standard input and output."""
    try:
        from workbench import tools
    except ModuleNotFoundError as error:
        raise InputError(f"workbench mcp: {error}; pip install 'ai-workbench[agents]'") from None
    tools.serve()
