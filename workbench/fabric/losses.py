"""Rows of measured failures and checkpoints as calls of `fabric.goodput`."""

from __future__ import annotations

FORMS = ()
