"""Run a scenario through QEMU's own colo-compare: the object alone, in a QEMU without a machine.

Its ends are UNIX sockets: frames with a 4-byte big-endian length. Requests for checkpoints come over
`notify_dev` as strings with the same length in front, and checkpoints are told it that way.
"""

import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

from .scenarios import SCAN_MS, Commit, Pause, Say, Scenario

ENDS = ("primary", "secondary", "out", "notify")
SETTLE_S = 0.01  # between two frames, so that they are handled in the order sent
BURST = 50  # longer runs of frames from one side go without a pause in between


def framed(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data


class _Reader(threading.Thread):
    """Collects the messages of one end."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(daemon=True)
        self.messages: list[bytes] = []
        self._end = end
        self.start()

    def run(self) -> None:
        pending = b""
        while data := self._receive():
            pending += data
            while len(pending) >= 4 and len(pending) >= 4 + int.from_bytes(pending[:4]):
                length = int.from_bytes(pending[:4])
                self.messages.append(pending[4 : 4 + length])
                pending = pending[4 + length :]

    def _receive(self) -> bytes:
        try:
            return self._end.recv(1 << 20)
        except OSError:
            return b""


class ColoCompare:
    """Context manager: one QEMU with one colo-compare and our ends of its sockets."""

    def __init__(self, command: list[str], directory: Path, timeout_ms: int) -> None:
        self._command, self._directory, self._timeout_ms = command, directory, timeout_ms

    def __enter__(self) -> "ColoCompare":
        self._home = tempfile.TemporaryDirectory(dir=self._directory)
        paths = {end: f"{self._home.name}/{end}" for end in ENDS}
        arguments = ["-machine", "none", "-nodefaults", "-nographic", "-object", "iothread,id=io"]
        for end, path in paths.items():
            arguments += ["-chardev", f"socket,id={end},path={path},server=on,wait=off"]
        arguments += [
            "-object",
            "colo-compare,id=compare,primary_in=primary,secondary_in=secondary,outdev=out,iothread=io,"
            f"notify_dev=notify,compare_timeout={self._timeout_ms},expired_scan_cycle={SCAN_MS}",
        ]
        self._process = subprocess.Popen(
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.ends = {end: self._connect(path) for end, path in paths.items()}
        self.out, self.notify = _Reader(self.ends["out"]), _Reader(self.ends["notify"])
        self.ends["notify"].sendall(framed(b"COLO_USERSPACE_PROXY_INIT"))
        self._until(lambda: self.notify.messages)
        self.notify.messages.clear()
        return self

    def _connect(self, path: str) -> socket.socket:
        end = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 20
        while True:
            try:
                end.connect(path)
                return end
            except OSError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self._process.kill()
                    said = self._process.communicate()[1].decode(errors="replace")
                    raise RuntimeError(f"QEMU's colo-compare did not start: {said}") from error
                time.sleep(0.02)

    @staticmethod
    def _until(true: object, seconds: float = 5) -> None:
        assert callable(true)
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline:
            time.sleep(0.005)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self.ends.values():
            end.close()
        self._process.kill()
        self._process.communicate()
        self._home.cleanup()

    def run(self, scenario: Scenario) -> tuple[list[bytes], int]:
        """What left by `outdev`, and how often it sent DO_CHECKPOINT."""
        burst = len(scenario.steps) > BURST
        before = None
        for step in scenario.steps:
            match step:
                case Say(primary=primary, frame=frame):
                    if burst and before is not None and before != primary:
                        time.sleep(0.2)
                    before = primary
                    self.ends["primary" if primary else "secondary"].sendall(framed(frame))
                    time.sleep(0 if burst else SETTLE_S)
                case Pause(ms):
                    time.sleep(ms / 1000)
                case Commit():
                    self.ends["notify"].sendall(framed(b"COLO_CHECKPOINT"))
                    time.sleep(0.1)
        time.sleep(1 if burst else 0.1)
        return list(self.out.messages), self.notify.messages.count(b"DO_CHECKPOINT")
