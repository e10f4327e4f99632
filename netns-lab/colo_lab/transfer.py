"""Downloads and uploads by the lab's client (client.py) in its namespace, watched from outside."""

import hashlib
import json
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from .lab import Lab
from .namespaces import end
from .replica.connection import Chain
from .replica.content import Content
from .waiting import Deadline, wait_readable

MIB = 1 << 20


def uploaded(size: int) -> str:
    """The SHA-256 of the answer to an upload of `size` bytes, all of which came right."""
    chain = Chain()
    for piece in Content().pieces(size, MIB):
        chain.update(bytes(piece))
    return hashlib.sha256(chain.hexdigest().encode() + b"\n").hexdigest()


class Transfer:
    """One run of the client. The context ends it if it has not ended."""

    def __init__(
        self,
        lab: Lab,
        url: str,
        *,
        parallel: int = 1,
        rate: float = 0.0,
        marks: int = 4 * MIB,
        post: int = -1,
    ) -> None:
        options = {"--parallel": parallel, "--rate": rate, "--marks": marks, "--post": post}
        words = [str(word) for pair in options.items() for word in pair]
        self._process = lab.topology.client.popen(
            [sys.executable, "-m", "colo_lab.client", url, *words], stdout=subprocess.PIPE
        )
        assert self._process.stdout
        self._fd = self._process.stdout.fileno()
        self._buffer = b""
        self._results: list[dict[str, Any]] = []
        self.bytes = 0  # known to have come (or gone, for an upload), all connections together

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process)
        assert self._process.stdout
        self._process.stdout.close()

    def step(self, deadline: Deadline) -> bool:
        """Wait for the client's next word; False when it has ended. Raises LabError at the deadline."""
        while b"\n" not in self._buffer:
            wait_readable(self._fd, deadline, "the client")
            data = os.read(self._fd, 1 << 16)
            if not data:
                return False
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        word = json.loads(line)
        if "at" in word:
            self.bytes = word["at"]
        else:
            self._results.append(word)
        return True

    def reach(self, count: int, seconds: float = 30.0) -> None:
        """Return when so many bytes have come, or at the transfer's end."""
        deadline = Deadline(seconds)
        while self.bytes < count and self.step(deadline):
            pass

    def results(self, seconds: float = 60.0) -> list[dict[str, Any]]:
        """Wait for the end; what the client says of each connection (client.py)."""
        deadline = Deadline(seconds)
        while self.step(deadline):
            pass
        return self._results

    def result(self, seconds: float = 60.0) -> dict[str, Any]:
        """Wait for the end of a single connection."""
        (only,) = self.results(seconds)
        return only
