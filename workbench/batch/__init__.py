"""Notebooks by the thousand: kernels that start warm."""
