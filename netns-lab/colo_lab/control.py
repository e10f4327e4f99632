"""A client of the proxy's control socket: newline-delimited JSON, blocking, standard library only."""

import json
import select
import socket
import subprocess
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .errors import LabError
from .waiting import Deadline, until


class Refused(LabError):
    """The proxy answered a command with an error."""

    def __init__(self, command: str, error: dict[str, Any]) -> None:
        super().__init__(f"{command}: {error.get('desc')}")
        self.kind = error.get("class")


class Disconnected(LabError):
    """The proxy has closed the control connection, or has died."""


class Control:
    """One connection. Events that come while an answer is awaited are kept for `event`."""

    def __init__(
        self, path: Path, deadline: Deadline, *, owner: "subprocess.Popen[bytes] | None" = None
    ) -> None:
        """Connect, waiting until somebody listens there; in vain once `owner` has ended.

        Raises LabError.
        """
        found = until(lambda: _connect(path) or _ended(owner), deadline, f"control socket {path}")
        if isinstance(found, int):
            raise LabError(f"the proxy ended with exit status {found}")
        assert found  # or `until` had raised
        self._socket = found
        self._buffer = b""
        self._events: deque[dict[str, Any]] = deque()
        self._number = 0
        self.greeting = self._message(deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def execute(self, command: str, *, seconds: float = 10.0, **arguments: Any) -> Any:
        """Run a command and return its answer.

        Raises Refused for an error, Disconnected, or LabError when no answer comes in time.
        """
        self._number += 1
        request: dict[str, Any] = {"execute": command, "id": self._number}
        if arguments:
            request["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise Disconnected(f"{command}: {error}") from None
        deadline = Deadline(seconds)
        while True:
            message = self._message(deadline)
            if "event" in message:
                self._events.append(message)
            elif message.get("id") == self._number:
                if "error" in message:
                    raise Refused(command, message["error"])
                return message["return"]

    def event(self, deadline: Deadline, *names: str) -> dict[str, Any]:
        """The next event, of these names if any are given; others are dropped.

        Raises LabError at the deadline, Disconnected.
        """
        while True:
            message = self._events.popleft() if self._events else self._message(deadline)
            if "event" in message and (not names or message["event"] in names):
                return message

    def wake(self) -> None:
        """Have whoever waits in another thread raise Disconnected."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def _message(self, deadline: Deadline) -> dict[str, Any]:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while b"\n" not in self._buffer:
            if not poll.poll(deadline.left * 1000):
                raise LabError(f"the proxy said nothing within {deadline.seconds:g} s")
            try:
                data = self._socket.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                raise Disconnected("the proxy closed the control connection")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return dict(json.loads(line))


def _ended(process: "subprocess.Popen[bytes] | None") -> int | None:
    """The exit status that is not 0 of a process that has ended."""
    return process.poll() if process else None


def _connect(path: Path) -> socket.socket | None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        return None
    return sock
