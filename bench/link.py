"""Processor time of the link's thread for what it carries: PYTHONPATH=tests python -m bench.link

Two processes on loopback, each one end of the link, with certificates made for it. One sends frames for some
seconds, the other takes them. Measured is the processor time of the two threads that carry the stream: with
a core to spare for each, a gigabyte takes the longer of the two. The frames are made and taken in Python
meanwhile, by threads that hold the GIL and are not measured, so the throughput as run is lower.
"""

import argparse
import multiprocessing
import queue
import select
import socket
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from unit.link.hosts import Authority, files, opening

from colo_proxy.endpoints import Tcp
from colo_proxy.link.channel import Channel
from colo_proxy.link.link import Ended, Link, Opened, Settings
from colo_proxy.link.tls import load

SIZES = (1_448, 60_000)
_BATCH = 64  # frames a turn, as the data path sends them


class Carried(NamedTuple):
    """By one end."""

    bytes_: int
    processor: float  # s, of the thread that carries the stream
    wall: float  # s


def _end(name: str, port: int, authority: Authority | None) -> tuple[Link, "queue.Queue[Opened | Ended]"]:
    told: queue.Queue[Opened | Ended] = queue.Queue()
    here = Tcp("127.0.0.1", port)
    proofs = files(authority, name) if authority else None
    link = Link(Settings(name, "b" if name == "a" else "a", here, here, proofs), told.put)
    link.begin(opening(name))
    return link, told


def _carrier(names: tuple[str, ...]) -> int:
    """The clock of the thread that carries the stream."""
    [thread] = [each for each in threading.enumerate() if each.name in names]
    assert thread.ident
    return time.pthread_getcpuclockid(thread.ident)


def _receive(authority: Authority | None, pipe: Connection) -> None:
    """The other process: take frames until the stream ends; tells its port first and what it took last."""
    link, told = _end("b", 0, authority)
    address = link.address
    assert address
    pipe.send(address.port)
    opened = told.get()
    assert isinstance(opened, Opened)
    clock = _carrier(("link-stream",))
    before, begun, got, used = time.clock_gettime(clock), time.monotonic(), 0, 0.0
    channel: Channel = opened.channel
    while not channel.ended:
        select.select([channel.data_bell], [], [])
        with suppress(OSError):  # the thread may have gone with the stream
            used = time.clock_gettime(clock) - before
        channel.hear()
        while (record := channel.receive()) is not None:
            got += len(record[3])
    pipe.send(Carried(got, used, time.monotonic() - begun))
    link.close()


def measure(size: int, seconds: float, authority: Authority | None) -> tuple[Carried, Carried]:
    """What the sending end and the receiving end carried."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_receive, args=(authority, there))
    process.start()
    link, told = _end("a", here.recv(), authority)
    opened = told.get()
    assert isinstance(opened, Opened)
    channel, frame, sent = opened.channel, bytes(size), 0
    clock = _carrier(("link",))
    before, begun = time.clock_gettime(clock), time.monotonic()
    while time.monotonic() - begun < seconds:
        for _ in range(_BATCH):
            if not channel.send_frame(0, 0, frame):
                break
            sent += size
        else:
            channel.flush()
            continue
        channel.flush()
        select.select([], [], [], 0.001)  # the lane is full: let it drain
    used, wall = time.clock_gettime(clock) - before, time.monotonic() - begun
    link.close()
    there_ = here.recv()
    process.join()
    return Carried(sent, used, wall), there_


def _receive_blocking(authority: Authority, pipe: Connection) -> None:
    """The other process of the stand-in."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        accepted, _ = listener.accept()
    into, got = bytearray(1 << 18), 0
    with load(files(authority, "b")).server.wrap_socket(accepted, server_side=True) as tls:
        before, begun = time.thread_time(), time.monotonic()
        while taken := tls.recv_into(into):
            got += taken
        pipe.send(Carried(got, time.thread_time() - before, time.monotonic() - begun))


def stand_in(seconds: float, authority: Authority) -> tuple[Carried, Carried]:
    """The same TLS by blocking calls, without records, rings or the other direction: a ceiling."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_receive_blocking, args=(authority, there))
    process.start()
    data, sent = bytes(65536), 0
    connected = socket.create_connection(("127.0.0.1", here.recv()))
    with load(files(authority, "a")).client.wrap_socket(connected, server_hostname="b") as tls:
        before, begun = time.thread_time(), time.monotonic()
        while time.monotonic() - begun < seconds:
            tls.sendall(data)
            sent += len(data)
        sender = Carried(sent, time.thread_time() - before, time.monotonic() - begun)
        with suppress(OSError):  # the other process does not answer it
            tls.unwrap()
    receiver = here.recv()
    process.join()
    return sender, receiver


def _row(kind: str, size: str, sender: Carried, receiver: Carried) -> None:
    costs = [each.processor / each.bytes_ * 1e9 for each in (sender, receiver)]
    wall = sender.bytes_ * 8 / sender.wall / 1e9
    print(
        f"| {kind} | {size} | {costs[0]:.2f} | {costs[1]:.2f} | {8 / max(costs):.1f} | {wall:.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    print(
        "| link | frame, bytes | sender, s/GB | receiver, s/GB | Gbit/s with a core each | as run, Gbit/s |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder), "ca")
        for name in ("a", "b"):
            authority.issue(name)
        for kind, proofs in (("TLS 1.3", authority), ("plain", None)):
            for size in SIZES:
                _row(kind, f"{size:,}", *measure(size, arguments.seconds, proofs))
        _row("blocking TLS 1.3", "none", *stand_in(arguments.seconds, authority))


if __name__ == "__main__":
    main()
