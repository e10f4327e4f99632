"""One HTTP/1.1 connection of a replica, as a state machine without sockets.

Bytes from the client go in; what to say comes out as a queue of small items. All of it can be
written down (`record`) and taken up again by the other replica (`Connection(**record)`).

    GET /bytes/N     N bytes that both replicas know (content.py)
    GET /random/N    N bytes drawn from the replica's own generator: they differ until a checkpoint
    GET /clock       the replica's clock in nanoseconds: differs every time
    POST anything    answers with the body's chained SHA-256 (`Chain`)

No Date header: it would differ.
"""

import hashlib
import random
import re
import time
from collections import deque
from dataclasses import astuple, dataclass, field
from typing import Any

_HEAD_LIMIT = 16 << 10
_QUEUE_LIMIT = 32  # items; past that no further pipelined request is looked at
_REQUEST = re.compile(rb"([A-Z]+) (/[^ ]*) HTTP/1\.([01])")
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes to be sent."""

    data: bytes

    def rest(self, sent: int) -> "Data | None":
        """What is left when so many bytes have been sent; None: nothing."""
        return Data(self.data[sent:]) if sent < len(self.data) else None


@dataclass(frozen=True, slots=True)
class Known:
    """Bytes of the content that both replicas know, from `position` to `end`."""

    position: int
    end: int

    def rest(self, sent: int) -> "Known | None":
        """What is left when so many bytes have been sent; None: nothing."""
        return Known(self.position + sent, self.end) if self.position + sent < self.end else None


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent before `until`, seconds of CLOCK_MONOTONIC."""

    until: float


Item = Data | Known | Pause
_ITEMS = {kind.__name__: kind for kind in (Data, Known, Pause)}


@dataclass(slots=True)
class Chain:
    """A hash whose state can be carried: h = SHA-256(h + block) over blocks of 64 KiB, from 32 zero bytes.

    hashlib keeps SHA-256's own state to itself.
    """

    digest: bytes = bytes(32)
    partial: bytes = b""

    def update(self, data: bytes) -> None:
        data = self.partial + data
        whole = len(data) - len(data) % _BLOCK
        for start in range(0, whole, _BLOCK):
            self.digest = hashlib.sha256(self.digest + data[start : start + _BLOCK]).digest()
        self.partial = data[whole:]

    def hexdigest(self) -> str:
        """Of everything so far; a last short block counts when it is not empty."""
        return (hashlib.sha256(self.digest + self.partial).digest() if self.partial else self.digest).hex()


@dataclass(slots=True)
class Connection:
    """`said` counts the bytes given to the kernel, the stream offset of the next one."""

    inbox: bytes = b""
    queue: deque[Item] = field(default_factory=deque)
    said: int = 0
    left: int = 0  # of the request body being received
    chain: tuple[bytes, bytes] | None = None  # of that body
    last: bool = False  # nothing is said after what is queued
    heard_all: bool = False  # the client has said FIN

    def __post_init__(self) -> None:
        # Of a record: an item's class and its fields.
        self.queue = deque(
            _ITEMS[item[0]](*item[1:]) if isinstance(item, tuple) else item for item in self.queue
        )

    def record(self, unsent: bytes = b"") -> dict[str, Any]:
        """Everything, in built-in types. `unsent` is what the kernel took but never sent."""
        items = ([Data(unsent)] if unsent else []) + list(self.queue)
        return {
            "inbox": self.inbox,
            "queue": [(type(item).__name__, *astuple(item)) for item in items],
            "said": self.said - len(unsent),
            "left": self.left,
            "chain": self.chain,
            "last": self.last,
            "heard_all": self.heard_all,
        }

    @property
    def wants_input(self) -> bool:
        return not self.heard_all and len(self.inbox) <= _HEAD_LIMIT and len(self.queue) < _QUEUE_LIMIT

    def hear(self, data: bytes, generator: random.Random, delay: float = 0.0) -> int:
        """Take bytes from the client; `b""` is its FIN. Returns how many requests were complete."""
        if not data:
            self.heard_all = self.last = True
            return 0
        self.inbox += data
        return self.proceed(generator, delay)

    def proceed(self, generator: random.Random, delay: float = 0.0) -> int:
        """Answer what has been heard in full."""
        answered = 0
        while not self.last and len(self.queue) < _QUEUE_LIMIT:
            if self.chain is not None:
                if not self._body():
                    break
                answered += 1
                continue
            head, mark, rest = self.inbox.partition(b"\r\n\r\n")
            if not mark:
                if len(head) > _HEAD_LIMIT:
                    self._refuse(431, b"Request Header Fields Too Large")
                break
            self.inbox = rest
            if delay:
                self.queue.append(Pause(time.monotonic() + delay))
            answered += self._request(head, generator)
        return answered

    def _request(self, head: bytes, generator: random.Random) -> int:
        line, *lines = head.split(b"\r\n")
        match = _REQUEST.fullmatch(line)
        headers = {
            key.strip().lower(): value.strip() for key, _, value in (item.partition(b":") for item in lines)
        }
        length = headers.get(b"content-length", b"0")
        if not match or not length.isdigit() or b"transfer-encoding" in headers:
            self._refuse(400, b"Bad Request")
            return 1
        method, path, minor = match.groups()
        close = headers.get(b"connection", b"").lower() == b"close" or minor == b"0"
        if method == b"POST":
            if headers.get(b"expect", b"").lower() == b"100-continue":
                self.queue.append(Data(b"HTTP/1.1 100 Continue\r\n\r\n"))
            self.left, self.chain = int(length), (bytes(32), b"")
            return 0
        what, _, count = path[1:].partition(b"/")
        number = int(count) if count.isdigit() and len(count) < 15 else None
        if method != b"GET":
            self._refuse(405, b"Method Not Allowed")
        elif what == b"bytes" and number is not None:
            self._head(200, b"OK", number)
            self.queue.append(Known(0, number))
        elif what == b"random" and number is not None and number <= 1 << 24:
            self._answer(generator.randbytes(number))
        elif path == b"/clock":
            self._answer(b"%d\n" % time.time_ns())
        else:
            self._answer(b"no such page\n", 404, b"Not Found")
        self.last = self.last or close
        return 1

    def _body(self) -> bool:
        """Take what has come of a request body; whether that was all."""
        assert self.chain is not None
        chain = Chain(*self.chain)
        part, self.inbox = self.inbox[: self.left], self.inbox[self.left :]
        chain.update(part)
        self.left -= len(part)
        self.chain = (chain.digest, chain.partial)
        if self.left:
            return False
        self.chain = None
        self._answer(chain.hexdigest().encode() + b"\n")
        return True

    def _answer(self, body: bytes, code: int = 200, text: bytes = b"OK") -> None:
        self._head(code, text, len(body))
        self.queue.append(Data(body))

    def _head(self, code: int, text: bytes, length: int) -> None:
        self.queue.append(
            Data(b"HTTP/1.1 %d %b\r\nServer: colo-lab\r\nContent-Length: %d\r\n\r\n" % (code, text, length))
        )

    def _refuse(self, code: int, text: bytes) -> None:
        self._answer(text + b"\n", code, text)
        self.last = True
        self.inbox = b""
