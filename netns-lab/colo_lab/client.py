"""The lab's HTTP client: reads a body, hashes it, and writes down how it came. Standard library only.

    python -m colo_lab.client URL [--rate BYTES_PER_SECOND] [--marks BYTES] [--parallel N] [--post BYTES]

Prints one JSON object a line: `{"at": bytes, "seconds": s}` each time another `--marks` bytes have come,
and in the end, for each connection, `{"status", "bytes", "sha256", "seconds", "gap"}`; `gap` is the longest
time in which nothing came. Exit status 1 when any connection failed.
"""

import argparse
import hashlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .replica.content import Content

_READ = 1 << 18


@dataclass
class Transfer:
    """One connection: a request said, an answer being heard."""

    sock: socket.socket
    head: bytes = b""
    status: int = 0
    length: int = -1
    heard: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    latest: float = 0.0
    gap: float = 0.0
    error: str | None = None

    def hear(self, data: memoryview, now: float) -> bool:
        """Take what came; whether the answer is complete."""
        self.gap = max(self.gap, now - self.latest)
        self.latest = now
        if self.length < 0:
            self.head += data
            head, mark, rest = self.head.partition(b"\r\n\r\n")
            if not mark:
                return False
            lines = head.decode("latin-1").split("\r\n")
            self.status = int(lines[0].split()[1])
            if self.status == 100:
                self.head = rest
                return self.hear(memoryview(b""), now)
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            self.length = int(headers["content-length"])
            data = memoryview(rest)
        self.digest.update(data)
        self.heard += len(data)
        return self.heard >= self.length

    def report(self, started: float) -> dict[str, Any]:
        return {
            "status": self.status,
            "bytes": self.heard,
            "sha256": self.digest.hexdigest(),
            "seconds": round(self.latest - started, 6),
            "gap": round(self.gap, 6),
            **({"error": self.error} if self.error else {}),
        }


def fetch(url: str, *, parallel: int = 1, rate: float = 0.0, marks: int = 0, post: int = -1) -> bool:
    """Do the transfers, all at once; whether every one ended well."""
    parts = urlsplit(url)
    host, port, path = parts.hostname or "", parts.port or 80, parts.path or "/"
    method = "GET" if post < 0 else "POST"
    length = "" if post < 0 else f"Content-Length: {post}\r\n"
    body = Content() if post > 0 else None
    request = f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{length}\r\n".encode()
    started = time.monotonic()
    selector = selectors.DefaultSelector()
    transfers = []
    for _ in range(parallel):
        sock = socket.create_connection((host, port), timeout=30)
        sock.sendall(request)
        if body:
            _say(sock, body.pieces(post, 1 << 16), rate, marks)
        transfers.append(transfer := Transfer(sock, latest=time.monotonic()))
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, transfer)
    buffer = memoryview(bytearray(_READ))
    total, next_mark = 0, marks
    while selector.get_map():
        for key, _ in selector.select():
            transfer = key.data
            try:
                count = transfer.sock.recv_into(buffer[: min(_READ, int(rate / 50) or 1) if rate else _READ])
                if not count:
                    transfer.error = "the connection ended early"
                done = not count or transfer.hear(buffer[:count], time.monotonic())
            except OSError as error:
                transfer.error, count, done = str(error), 0, True
            total += count
            while marks and total >= next_mark:
                _word({"at": next_mark, "seconds": time.monotonic() - started})
                next_mark += marks
            if done:
                selector.unregister(transfer.sock)
                transfer.sock.close()
        if rate and (early := total / rate - (time.monotonic() - started)) > 0:
            time.sleep(early)  # this is the pace that was asked for, not a wait for something
    for transfer in transfers:
        _word(transfer.report(started))
    return all(t.error is None and t.status == 200 for t in transfers)


def _say(sock: socket.socket, body: Iterator[memoryview], rate: float, marks: int) -> None:
    """Send a request body at the given pace."""
    started, said, next_mark = time.monotonic(), 0, marks
    for part in body:
        sock.sendall(part)
        said += len(part)
        while marks and said >= next_mark:
            _word({"at": next_mark, "seconds": time.monotonic() - started})
            next_mark += marks
        if rate and (early := said / rate - (time.monotonic() - started)) > 0:
            time.sleep(early)


def _word(said: dict[str, Any]) -> None:
    """Say it. Where nobody listens any more, end: there is nobody to complain to either."""
    try:
        print(json.dumps(said), flush=True)
    except BrokenPipeError:
        os._exit(1)


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word
    parser = argparse.ArgumentParser(prog="colo_lab.client", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--parallel", type=int, default=1, help="connections at once")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="bytes a second, all together; 0: as they come"
    )
    parser.add_argument(
        "--marks", type=int, default=0, help="print a line each time this many bytes have come"
    )
    parser.add_argument("--post", type=int, default=-1, help="POST this many bytes of the lab's content")
    arguments = parser.parse_args()
    try:
        good = fetch(
            arguments.url,
            parallel=arguments.parallel,
            rate=arguments.rate,
            marks=arguments.marks,
            post=arguments.post,
        )
    except OSError as error:
        _word({"status": 0, "error": str(error)})
        return 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
