"""Sockets between processes of one user, in a private folder: each asks the system who is at the other end."""

import os
import socket
import struct
import sys
from pathlib import Path


def listen(path: Path) -> socket.socket:
    """A socket at `path` that only this user may connect to."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(1024)  # all workers of a large machine may come while a server imports
    return listener


def connect(path: str | Path, timeout: float | None = None) -> socket.socket:
    """A connection to the socket at `path`. Raises `PermissionError` if another user listens there, `OSError` if nobody does."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(str(path))
        if not of_this_user(connection):
            raise PermissionError(f"{path} belongs to another user")
    except BaseException:
        connection.close()
        raise
    return connection


def of_this_user(connection: socket.socket) -> bool:
    """Whether the process at the other end runs as the same user, by the system's own word."""
    if sys.platform == "linux":
        _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    else:  # LOCAL_PEERCRED of the BSDs and macOS: struct xucred begins with its version and the user
        _, user = struct.unpack("Ii", connection.getsockopt(0, 1, 76)[:8])
    return int(user) == os.geteuid()
