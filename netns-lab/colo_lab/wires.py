"""The cables of a lab, each with a process in it that loses, duplicates and reorders frames (impairments.py).

    host                      wires                        client, pvm, svm
    client0 ----veth---- outer0 { this process } inner0 ----veth---- eth0

One process serves all cables, in a namespace of its own. A cable carries what a wire would: frames of the MTU
at most, checksums made. So offloads are off at both ends, and whoever sends a super-frame has the kernel
cut it before it gets here. VLAN tags are not carried.

    python -m colo_lab.wires --channel FD --seed N --loss S --duplicates S --reordering S OUTER:INNER…

It answers on the channel: `flush` lets go all that is on the wires, `hits` tells what became of the frames.
"""

import argparse
import ctypes
import fcntl
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from .errors import LabError
from .impairments import Impairments, Stack
from .kernel import die_with_parent
from .namespaces import Namespace
from .nic import ETH_P_ALL, PACKET_IGNORE_OUTGOING, SOL_PACKET, enlarge
from .replica.channel import Channel
from .waiting import Deadline, wait_readable

_BATCH = 64  # frames of one direction before the others get their turn
_FRAME = 2048  # bytes: more than a frame of the MTU
_BUFFER = 32 << 20
_SIOCETHTOOL = 0x8946
_OFFLOADS = (0x1F, 0x24, 0x2C, 0x17)  # ETHTOOL_STSO, _SGSO, _SGRO, _STXCSUM (linux/ethtool.h)


def whole_frames(namespace: Namespace, device: str) -> None:
    """No offloads on this device: every frame that it sends or receives is whole, and fits the MTU."""
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in _OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("=II", command, 0))
            request = struct.pack("@16sP", device.encode(), ctypes.addressof(value))
            fcntl.ioctl(sock, _SIOCETHTOOL, request + bytes(16))


class Wires:
    """The running process, from outside."""

    def __init__(self, process: "subprocess.Popen[bytes]", channel: Channel) -> None:
        self._process, self._channel = process, channel
        self._asking = threading.Lock()

    def flush(self) -> None:
        """Whatever has been sent so far has arrived, or is lost, when this returns."""
        self._ask("flush")

    def hits(self) -> dict[str, dict[str, int]]:
        """By direction: `frames` that were sent, and how many of them were `lost`, `duplicated`, `reordered`;
        `missed`: those that found no room here, which no seed decided."""
        return dict(self._ask("hits"))

    def _ask(self, word: str) -> Any:
        with self._asking:
            try:
                self._channel.send(word)
                wait_readable(self._channel.fileno(), Deadline(10), "the lab's wires")
                return self._channel.receive()
            except EOFError:
                raise LabError(f"the lab's wires broke (exit status {self._process.poll()})") from None


@contextmanager
def impaired(
    namespace: Namespace, cables: Sequence[tuple[str, str]], suffered: Impairments
) -> Iterator[Wires]:
    """Join each pair of devices of this namespace, whose directions suffer these impairments.

    A direction is named after the device that its frames come from.
    """
    ours, theirs = socket.socketpair()
    options = {"channel": theirs.fileno(), **asdict(suffered)}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    words += [":".join(cable) for cable in cables]
    with (
        ours,
        theirs,
        namespace.running(
            [sys.executable, "-m", "colo_lab.wires", *words],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        ) as process,
    ):
        theirs.close()
        wires = Wires(process, Channel(ours))
        wires.flush()  # it answers when it is at work
        yield wires


class _Direction:
    """Frames from one device to another, by way of its stack of devices."""

    def __init__(
        self, source: socket.socket, target: socket.socket, name: str, suffered: Impairments
    ) -> None:
        self._source, self._target = source, target
        self._named = suffered.devices(name)
        self._stack = Stack(*self._named.values())
        self.due = self._stack.due
        self._frames = 0
        self._missed = 0

    def turn(self, most: int) -> int:
        """Pass on up to `most` frames that have come; returns how many."""
        receive, take, send, clock = self._source.recv, self._stack.take, self._send, time.monotonic_ns
        for count in range(most):
            try:
                frame = receive(_FRAME)
            except BlockingIOError:
                return count
            self._frames += 1
            for out in take(frame, clock()):
                send(out)
        return most

    def late(self, now: int) -> None:
        for frame in self._stack.late(now):
            self._send(frame)

    def flush(self) -> None:
        while self.turn(_BATCH):
            pass
        for frame in self._stack.flush(time.monotonic_ns()):
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        try:
            self._target.send(frame)
        except OSError:  # ENOBUFS: whoever it is for has no room
            self._missed += 1

    def hits(self) -> dict[str, int]:
        _, missed = struct.unpack("@II", self._source.getsockopt(SOL_PACKET, 6, 8))  # PACKET_STATISTICS
        self._missed += missed
        struck = {name: device.hits for name, device in self._named.items()}
        return {"frames": self._frames, "missed": self._missed, **struck}


def _port(device: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.setblocking(False)
    enlarge(sock, _BUFFER)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.bind((device, ETH_P_ALL))
    return sock


def _serve(channel: Channel, directions: dict[str, _Direction], sources: dict[int, _Direction]) -> None:
    """Until the lab closes the channel."""
    poll = select.poll()
    for fd in (channel.fileno(), *sources):
        poll.register(fd, select.POLLIN)
    while True:
        times = [when for each in directions.values() if (when := each.due()) is not None]
        wait = -(-(min(times) - time.monotonic_ns()) // 1_000_000) if times else None
        for fd, _ in poll.poll(None if wait is None else max(0, wait)):
            if fd in sources:
                sources[fd].turn(_BATCH)
                continue
            try:
                word = channel.receive()
            except EOFError:
                return
            if word == "flush":
                for each in directions.values():
                    each.flush()
            channel.send({name: each.hits() for name, each in directions.items()})
        if times:
            now = time.monotonic_ns()
            for each in directions.values():
                each.late(now)


def main() -> None:
    parser = argparse.ArgumentParser(description="The cables of a lab; started by the lab.")
    parser.add_argument("--channel", type=int, required=True, help="descriptor of the socket to the lab")
    parser.add_argument("--seed", type=int, required=True)
    for name in ("loss", "duplicates", "reordering"):
        parser.add_argument(f"--{name}", type=float, required=True, help="a share, from 0 to 1")
    parser.add_argument("cables", nargs="+", metavar="OUTER:INNER", help="two devices to join")
    given = parser.parse_args()
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the lab, which ends us in its order
    suffered = Impairments(given.loss, given.duplicates, given.reordering, given.seed)
    directions, sources = {}, {}
    for cable in given.cables:
        outer, inner = cable.split(":")
        ends = {name: _port(name) for name in (outer, inner)}
        for source, target in ((outer, inner), (inner, outer)):
            directions[source] = sources[ends[source].fileno()] = _Direction(
                ends[source], ends[target], source, suffered
            )
    _serve(Channel(socket.socket(fileno=given.channel)), directions, sources)


if __name__ == "__main__":
    main()
