"""Serving: what a token takes, and the frontier over layouts."""
