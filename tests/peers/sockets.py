"""A comparator behind its sockets, as a program: QEMU's colo-compare alone, or `colo-proxy colo-compare`.

Its ends are UNIX sockets: frames with a 4-byte big-endian length and, with `vnet`, a 4-byte virtio-net header
length and such a header. Over `notify` come requests for checkpoints, strings with the first length alone;
checkpoints are told it that way.
"""

import socket
import subprocess
import tempfile
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from .scenarios import Commit, Pause, Say, Scenario

ENDS = ("primary", "secondary", "out", "notify")
SETTLE_S = 0.01  # between two frames, so that they are handled in the order sent
BURST = 50  # longer runs of frames from one side go without a pause in between
VNET = bytes(12)  # what QEMU's virtio-net has with mergeable buffers


def message(text: bytes) -> bytes:
    return len(text).to_bytes(4) + text


def until(true: Callable[[], object], seconds: float = 5) -> bool:
    """Wait for it; whether it came true."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Reader(threading.Thread):
    """Collects the messages of one end."""

    def __init__(self, end: socket.socket, skip: int = 0) -> None:
        super().__init__(daemon=True)
        self.messages: list[bytes] = []
        self._end, self._skip = end, skip
        self._reads = threading.Event()
        self._reads.set()
        self.start()

    def rest(self) -> None:
        """Read no more than what comes next."""
        self._reads.clear()

    def go_on(self) -> None:
        self._reads.set()

    def run(self) -> None:
        pending = b""
        prefix = 8 if self._skip else 4
        while data := self._receive():
            pending += data
            while len(pending) >= prefix and len(pending) >= prefix + int.from_bytes(pending[:4]):
                end = prefix + int.from_bytes(pending[:4])
                self.messages.append(pending[prefix + self._skip : end])
                pending = pending[end:]

    def _receive(self) -> bytes:
        self._reads.wait()
        try:
            return self._end.recv(1 << 16)
        except OSError:
            return b""


class Comparator:
    """Context manager: one such program, and our ends of its sockets."""

    def __init__(self, directory: Path | None = None, *, timeout_ms: int = 3000, vnet: bool = False) -> None:
        self._directory, self.timeout_ms, self.vnet = directory, timeout_ms, vnet
        self.ends: dict[str, socket.socket] = {}

    @abstractmethod
    def command(self, paths: dict[str, str]) -> list[str]:
        """Its command line; `paths` by the names of the ends."""

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(dir=self._directory)
        self.paths = {end: f"{self._home.name}/{end}" for end in ENDS}
        self._process = subprocess.Popen(
            self.command(self.paths),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for end in ("primary", "secondary"):
            self.connect(end)
        self.listen_again()
        self.ask_again()
        until(lambda: self.notify.messages)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self.ends.values():
            end.close()
        self._process.terminate()
        try:
            self.said = self._process.communicate(timeout=10)[1].decode(errors="replace")
        finally:
            self._process.kill()
            self._home.cleanup()

    def connect(self, name: str) -> socket.socket:
        """Connect one end, as soon as the program listens there; an earlier connection stays."""
        deadline = time.monotonic() + 20
        while True:
            end = socket.socket(socket.AF_UNIX)
            try:
                end.connect(self.paths[name])
            except OSError as error:
                end.close()
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self._process.kill()
                    said = self._process.communicate()[1].decode(errors="replace")
                    raise RuntimeError(f"the comparator did not start: {said}") from error
                time.sleep(0.02)
            else:
                self.ends[name] = end
                return end

    def listen_again(self) -> None:
        """Be at the output."""
        self.out = Reader(self.connect("out"), len(VNET) if self.vnet else 0)

    def ask_again(self) -> None:
        """Be libxl."""
        self.notify = Reader(self.connect("notify"))
        self.ends["notify"].sendall(message(b"COLO_USERSPACE_PROXY_INIT"))

    def hang_up(self, name: str) -> None:
        end = self.ends.pop(name)
        end.shutdown(socket.SHUT_RDWR)  # also for a reader of ours
        end.close()

    def framed(self, frame: bytes) -> bytes:
        """A frame as it goes over `primary`, `secondary` and `out`."""
        if not self.vnet:
            return message(frame)
        return (len(VNET) + len(frame)).to_bytes(4) + len(VNET).to_bytes(4) + VNET + frame

    def say(self, end: str, *frames: bytes) -> None:
        self.ends[end].sendall(b"".join(map(self.framed, frames)))

    def requests(self) -> int:
        """How often it has asked for a checkpoint."""
        return self.notify.messages.count(b"DO_CHECKPOINT")

    def commit(self) -> None:
        """Tell it that a checkpoint is done."""
        self.ends["notify"].sendall(message(b"COLO_CHECKPOINT"))

    def run(self, scenario: Scenario) -> tuple[list[bytes], int]:
        """What left by `out`, and how often a checkpoint was asked for."""
        burst = len(scenario.steps) > BURST
        before = None
        for step in scenario.steps:
            match step:
                case Say(primary=primary, frame=frame):
                    if burst and before is not None and before != primary:
                        time.sleep(0.2)
                    before = primary
                    self.say("primary" if primary else "secondary", frame)
                    time.sleep(0 if burst else SETTLE_S)
                case Pause(ms):
                    time.sleep(ms / 1000)
                case Commit():
                    self.commit()
                    time.sleep(0.1)
        time.sleep(1 if burst else 0.1)
        return list(self.out.messages), self.requests()
