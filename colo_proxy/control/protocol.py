"""The control socket's lines, in QMP's manner. No I/O: bytes in, requests and errors out; replies to bytes.

A line holds one JSON object: `{"execute": COMMAND, "arguments": {...}, "id": ANY_SCALAR}`. Every line gets
exactly one reply, in order, with its `id` where it had one. A line that cannot be understood gets an error
and harms nothing: the next line is read as if it had never been. An empty line is ignored.
"""

import json
from dataclasses import dataclass, field
from typing import Any

MAX_LINE = 64 * 1024  # bytes, without the newline

Id = str | int | float | bool | None


class _Absent:
    """No `id` in the request: then there is none in the reply."""


ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Request:
    """A command to carry out."""

    command: str
    arguments: dict[str, Any] = field(default_factory=dict)
    id: Id | _Absent = ABSENT


class CommandError(Exception):
    """An error for the client: `class` is for programs, the text for people.

    Classes: LineTooLong, BadJson, BadRequest, CommandNotFound, BadArguments, WrongState, GenericError.
    """

    def __init__(self, class_: str, desc: str, id: Id | _Absent = ABSENT) -> None:
        super().__init__(desc)
        self.class_ = class_
        self.desc = desc
        self.id = id


class LineReader:
    """Cuts a byte stream into requests, with never more than one line in memory."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping = False  # inside a line that was too long

    def feed(self, data: bytes) -> list[Request | CommandError]:
        """Take bytes in; returns what the lines that are now complete say, in order."""
        found: list[Request | CommandError] = []
        *complete, rest = data.split(b"\n")
        for piece in complete:
            if self._add(piece):
                found.append(_too_long())
            line, skipped = bytes(self._buffer), self._skipping
            self._buffer.clear()
            self._skipping = False
            if not skipped and line.strip():
                found.append(_read(line))
        if self._add(rest):
            found.append(_too_long())
        return found

    def _add(self, piece: bytes) -> bool:
        """Append to the line; true where it just became too long."""
        if self._skipping:
            return False
        if len(self._buffer) + len(piece) > MAX_LINE:
            self._buffer.clear()
            self._skipping = True
            return True
        self._buffer += piece
        return False


def _too_long() -> CommandError:
    return CommandError("LineTooLong", f"the line is longer than {MAX_LINE} bytes; it was ignored")


def _read(line: bytes) -> Request | CommandError:
    try:
        message = json.loads(line.decode(), parse_constant=_no_constant)
    except RecursionError:
        return CommandError("BadJson", "the JSON is nested too deep")
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, integers of thousands of digits
        return CommandError("BadJson", f"not JSON: {error}")
    try:
        return _request(message)
    except CommandError as error:
        return error


def _request(message: object) -> Request:
    if not isinstance(message, dict):
        raise CommandError("BadRequest", "a request is a JSON object with the key 'execute'")
    id_ = message.get("id", ABSENT)
    if isinstance(id_, dict | list):
        raise CommandError("BadRequest", "'id' must be a string, a number, a boolean or null")
    command = message.get("execute")
    if not isinstance(command, str):
        raise CommandError("BadRequest", "the key 'execute' is missing, or no string", id_)
    if unknown := set(message) - {"execute", "arguments", "id"}:
        raise CommandError("BadRequest", f"unknown key {min(unknown)!r} in the request", id_)
    arguments = message.get("arguments", {})
    if not isinstance(arguments, dict):
        raise CommandError("BadArguments", "'arguments' must be a JSON object", id_)
    return Request(command, arguments, id_)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def greeting(version: str, name: str) -> bytes:
    """The first line that a client sees."""
    return encode({"colo-proxy": {"version": version, "name": name}})


def success(request: Request, value: object) -> bytes:
    """The reply to a request that was carried out."""
    return encode(_with_id({"return": value}, request.id))


def failure(error: CommandError, id: Id | _Absent = ABSENT) -> bytes:
    """The reply to a line that was refused, or a command that failed."""
    reply = {"error": {"class": error.class_, "desc": error.desc}}
    return encode(_with_id(reply, error.id if id is ABSENT else id))


def event(name: str, data: dict[str, Any], seconds: int, microseconds: int) -> bytes:
    """An event, for every client. The time is CLOCK_REALTIME."""
    timestamp = {"seconds": seconds, "microseconds": microseconds}
    return encode({"event": name, "data": data, "timestamp": timestamp})


def encode(message: dict[str, Any]) -> bytes:
    """One line. JSON is kept to ASCII, so that no text of a client can break out of a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _with_id(reply: dict[str, Any], id: Id | _Absent) -> dict[str, Any]:
    return reply if isinstance(id, _Absent) else {**reply, "id": id}
