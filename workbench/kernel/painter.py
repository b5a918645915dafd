"""A process that paints pictures for warm kernels, so that none of them spends a third of a second on starting V8."""

import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.charts import render
from workbench.kernel import private_socket

END = b"IEND\xaeB`\x82"  #: how every whole PNG ends
PATIENCE = 30.0  #: longest that a kernel waits for a picture before it paints itself [s]


def serve(listener: socket.socket, parent: int) -> None:
    """Paint what is asked for on `listener`, one picture a connection, until the process `parent` is gone."""
    render.paint({"mark": "point", "$schema": render.SCHEMA})  # starts V8 and loads Vega
    listener.settimeout(1.0)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection, contextlib.suppress(Exception):  # no answer: the kernel paints itself, and meets the error
            connection.settimeout(PATIENCE)
            if private_socket.of_this_user(connection):
                connection.sendall(render.paint(json.loads(_all(connection))))


def asked(path: Path) -> Callable[[dict[str, Any]], bytes]:
    """A function that has its pictures painted at the socket `path`, and paints them itself where that fails."""

    def paint(spec: dict[str, Any]) -> bytes:
        with contextlib.suppress(OSError, TypeError), private_socket.connect(path, PATIENCE) as connection:
            connection.sendall(json.dumps(spec).encode())
            connection.shutdown(socket.SHUT_WR)
            picture = _all(connection)
            if picture.endswith(END):
                return picture
        return render.paint(spec)

    return paint


def _all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))
