"""The control socket's messages, in QMP's manner. No I/O: bytes in, requests out; replies in, bytes out.

A line holds one JSON object: `{"execute": COMMAND, "arguments": {...}, "id": ANY}`. QMP tools end an
object with no newline (qemu.qmp's Message.__bytes__), so it is taken as soon as its last brace is there; what
else is on the line is read as another. Every object gets exactly one reply, in order, with its `id` where it
had one. So does every line that is none; what cannot be understood harms nothing: the next line is read as if
it had never been. An empty line is ignored.
"""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

MAX_LINE = 64 * 1024  # bytes, without the newline

# What can end a message, or changes what the next brace means.
_TOKEN = re.compile(rb'\\[^\n]|["{}\n]')

_MAX_ID_DEPTH = 64  # so that what could be read can be written

Id = Any  # a JSON value


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


class RequestReader:
    """Cuts a byte stream into requests, with never more than one message and one `feed` in memory."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping = False  # to the end of a line of which nothing more can be believed
        self._restart()

    def _restart(self) -> None:
        self._seen = 0  # bytes of the buffer in which no message ends
        self._depth = 0  # open braces outside strings
        self._in_string = False
        self._is_line = False  # not an object: only a newline ends it

    def feed(self, data: bytes) -> list[Request | CommandError]:
        """Take bytes in; returns what the messages that are now complete say, in order."""
        self._buffer += data
        found: list[Request | CommandError] = []
        while (end := self._end()) is not None:
            message = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._restart()
            if self._skipping:
                self._skipping = False
            elif message.strip():
                said = _too_long() if len(message.rstrip(b"\n")) > MAX_LINE else _read(message)
                found.append(said)
                self._skipping = _is_garbled(said) and not message.endswith(b"\n")
        if len(self._buffer) > MAX_LINE and not self._skipping:
            found.append(_too_long())
            self._skipping = True
        if self._skipping:
            self._buffer.clear()
            self._restart()
        return found

    def _end(self) -> int | None:
        """Where the first message of the buffer ends, its newline included; None if it does not yet."""
        if self._skipping:
            return self._buffer.find(b"\n") + 1 or None
        while match := _TOKEN.search(self._buffer, self._seen):
            self._seen = match.end()
            if match[0] == b"\n" or self._closes(match[0], match.start()):
                return self._seen
        # A backslash at the end may belong to what is still to come.
        self._seen = max(self._seen, len(self._buffer) - self._buffer.endswith(b"\\"))
        return None

    def _closes(self, token: bytes, start: int) -> bool:
        """Take a token in; true if it is an object's last brace."""
        if self._is_line:
            return False
        if self._in_string:
            self._in_string = token != b'"'
        elif self._depth == 0:
            self._is_line = token != b"{" or bool(self._buffer[:start].strip())
            self._depth = 1
        elif token == b'"':
            self._in_string = True
        elif token in b"{}":
            self._depth += 1 if token == b"{" else -1
            return self._depth == 0
        return False


def _is_garbled(said: Request | CommandError) -> bool:
    """An object that was none: where it was cut may lie inside what its sender meant to be a string."""
    return isinstance(said, CommandError) and said.class_ in ("BadJson", "LineTooLong")


def _too_long() -> CommandError:
    return CommandError("LineTooLong", f"the line is longer than {MAX_LINE} bytes; it was ignored")


def _read(line: bytes) -> Request | CommandError:
    try:
        message = json.loads(line.decode(), parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        return CommandError("BadJson", "the JSON is nested too deeply")
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
    if _is_deep(id_, _MAX_ID_DEPTH):
        raise CommandError("BadRequest", f"'id' is nested too deeply: {_MAX_ID_DEPTH} levels at most")
    command = message.get("execute")
    if not isinstance(command, str):
        raise CommandError("BadRequest", "the key 'execute' is missing or is not a string", id_)
    if unknown := set(message) - {"execute", "arguments", "id"}:
        raise CommandError("BadRequest", f"unknown key {min(unknown)!r} in the request", id_)
    arguments = message.get("arguments", {})
    if not isinstance(arguments, dict):
        raise CommandError("BadArguments", "'arguments' must be a JSON object", id_)
    return Request(command, arguments, id_)


def _is_deep(value: object, levels: int) -> bool:
    """Whether arrays and objects are nested in more than so many levels."""
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deep(part, levels - 1) for part in parts)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):  # it could not be given back
        raise ValueError(f"{text} is not a JSON number within a double's range")
    return number


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def greeting(version: str, name: str) -> bytes:
    """The first line that a client sees. The key `QMP` is what QMP tools look for (qmp-spec, 2.2)."""
    numbers = [*map(int, re.findall(r"\d+", version)), 0, 0, 0]
    qmp = {
        "version": {
            "qemu": dict(zip(("major", "minor", "micro"), numbers, strict=False)),
            "package": f"colo-proxy {version}",
        },
        "capabilities": [],
    }
    return encode({"colo-proxy": {"version": version, "name": name}, "QMP": qmp})


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
    """One line, ended as QMP ends its own. ASCII, so that no text of a client can break out of it."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\r\n"


def _with_id(reply: dict[str, Any], id: Id | _Absent) -> dict[str, Any]:
    return reply if isinstance(id, _Absent) else {**reply, "id": id}
