"""How the lab talks with a replica: length-prefixed messages over a socket pair.

Messages are built-in types written with marshal, which is fast, and fine between a program and its own
child; it would not do for a stranger's bytes.
"""

import marshal
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")


class Channel:
    """One end of the pair. Blocking; raises EOFError when the other end is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Any) -> None:
        data = marshal.dumps(message)
        try:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except (BrokenPipeError, ConnectionResetError):
            raise EOFError("the other end is gone") from None

    def receive(self) -> Any:
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return marshal.loads(self._exactly(length))

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, count: int) -> bytearray:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            try:
                taken = self._socket.recv_into(view)
            except ConnectionResetError:
                taken = 0
            if not taken:
                raise EOFError("the other end is gone")
            view = view[taken:]
        return data
