"""Warm kernels: forked from a process that has imported the libraries."""
