"""The `workbench` command, also as ``python -m workbench``."""

from workbench import interrupts


def main() -> None:
    """Entry point. What takes long to import comes after Ctrl-C is heard."""
    try:
        interrupts.armed()
        from workbench import cli

        cli.main()
    except BaseException as error:
        if interrupts.heard or isinstance(error, KeyboardInterrupt):  # what imports may make another error of it
            interrupts.end()
        raise


if __name__ == "__main__":
    main()
