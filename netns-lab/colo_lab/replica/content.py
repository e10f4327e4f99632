"""What the replicas serve: a long pattern, the same for the same seed, that repeats late.

Kept in a memfd, so that the kernel sends it without copying.
"""

import hashlib
import os
import random
from collections.abc import Iterator

PERIOD = 4_194_301  # bytes; a prime, so no power of two that a bug could slip by maps the pattern to itself


class Content:
    """An endless body: byte `i` of every download is `pattern[i % PERIOD]`."""

    def __init__(self, seed: int = 0) -> None:
        self._pattern = random.Random(seed).randbytes(PERIOD)
        self.fd = os.memfd_create("colo-lab-content", os.MFD_CLOEXEC)
        os.write(self.fd, self._pattern)

    def byte(self, position: int) -> int:
        return self._pattern[position % PERIOD]

    def send(self, sock: int, position: int, count: int) -> int:
        """Send up to `count` bytes of the body from `position` on; returns how many were taken.

        Raises BlockingIOError when the socket takes none.
        """
        start = position % PERIOD
        return os.sendfile(sock, self.fd, start, min(count, PERIOD - start))

    def sha256(self, count: int) -> str:
        """The SHA-256 of the first `count` bytes."""
        digest = hashlib.sha256()
        for piece in self.pieces(count, PERIOD):
            digest.update(piece)
        return digest.hexdigest()

    def pieces(self, count: int, most: int) -> Iterator[memoryview]:
        """The first `count` bytes, at most `most` at a time."""
        view, position = memoryview(self._pattern), 0
        while position < count:
            start = position % PERIOD
            piece = view[start : start + min(most, count - position)]
            yield piece
            position += len(piece)

    def close(self) -> None:
        os.close(self.fd)
