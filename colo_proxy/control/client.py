"""A client of the control socket, for commands: blocking, and quick to import."""

import json
import socket
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from colo_proxy.errors import ControlError, Refused, Unreachable

# A long listing must not delay the VMs' packets: on Linux a thread that wakes up may have to wait until the
# slice of one that runs is over, some 3 ms. So pages are small, and between them the proxy has a pause.
FEW = 1000  # flows that are listed without a pause
_PAGE = 25  # flows requested at a time
_PAUSE_S = 0.001
_BAD_INPUT = ("BadArguments", "LineTooLong")  # the user's mistake, as if the command itself had found it


class Client:
    """A connection to a running proxy. What can go wrong is a ControlError, in a person's words."""

    def __init__(self, path: str, timeout: float | None = 10.0) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            kind = Refused if isinstance(error, PermissionError) else Unreachable
            raise kind(f"{path}: {_connect_problem(error)}") from None
        self._file = self._socket.makefile("rb")
        self._events: list[dict[str, Any]] = []
        greeting = self._receive()
        if not isinstance(greeting.get("colo-proxy"), dict):
            self.close()
            raise Unreachable(f"{path}: this is not a colo-proxy's control socket")
        self.greeting: dict[str, Any] = greeting["colo-proxy"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._file.close()  # it keeps the socket open
        self._socket.close()

    def execute(self, command: str, **arguments: object) -> Any:
        """Carry out a command and return its value; events that come meanwhile are kept for `events`."""
        request: dict[str, object] = {"execute": command, "id": 1}
        if arguments:
            request["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except TimeoutError:
            raise _NoAnswer(f"{self.path}: the proxy does not answer; see its log") from None
        except OSError:
            pass  # it has hung up, but may have said why: that is read, or the end
        while True:
            message = self._receive()
            if "event" in message:
                self._events.append(message)
            elif "error" in message:
                error = message["error"]
                kind = ControlError if error.get("class") in _BAD_INPUT else Refused
                raise kind(f"{command}: {error['desc']}")
            else:
                return message["return"]

    def flows(self) -> Iterator[dict[str, Any]]:
        """All flows, a page at a time; one that lives throughout comes exactly once."""
        after = listed = 0
        while True:
            page = self.execute("query-flows", limit=_PAGE, after=after)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1]["id"]
            listed += len(page)
            if listed >= FEW:
                time.sleep(_PAUSE_S)

    def events(self, timeout: float | None = None) -> Iterator[dict[str, Any]]:
        """Wait for events for as long as the proxy lives, or in all `timeout` seconds; then ControlError."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            while self._events:
                yield self._events.pop(0)
            self._socket.settimeout(None if end is None else max(0.001, end - time.monotonic()))
            try:
                message = self._receive()
            except _NoAnswer:
                raise NothingMore(f"{self.path}: nothing more within {timeout:g} s") from None
            if "error" in message:
                raise Refused(f"{self.path}: {message['error']['desc']}")
            if "event" in message:
                yield message

    def taken(self) -> list[dict[str, Any]]:
        """The events that came while answers were waited for."""
        taken, self._events = self._events, []
        return taken

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._file.readline()
        except TimeoutError:
            raise _NoAnswer(f"{self.path}: the proxy does not answer; see its log") from None
        except OSError as error:
            raise Unreachable(f"{self.path}: {error.strerror or error}") from None
        if not line.endswith(b"\n"):
            raise Unreachable(f"{self.path}: the proxy has closed the connection")
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise Unreachable(f"{self.path}: the program that answers there is not a colo-proxy")
        return message


class _NoAnswer(Unreachable):
    pass


class NothingMore(ControlError):
    """No event has come in the time that was given."""


def _connect_problem(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such socket; is the proxy running?"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; the proxy is not running"
    if isinstance(error, PermissionError):
        return "permission denied; only root and the group in [proxy] control_group may use it"
    return str(error.strerror or error)
