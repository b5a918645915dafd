"""Warm kernels: forked from a process that has imported the libraries. Jupyter finds them by the name ``workbench``."""

__all__: list[str] = []
