"""The replica's process: one epoll loop over HTTP, UDP echo and the channel to the lab.

The lab can stop it between two events, read its whole state out, put another replica's state in,
and let it go on: see `_stopped`. Faults are set over the same channel.
"""

import argparse
import random
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..addresses import ECHO_PORT, HTTP_PORT
from ..kernel import die_with_parent
from . import repair
from .arena import Arena
from .channel import Channel
from .connection import Connection, Data, Pause
from .content import Content

_TURN = 1 << 20  # bytes one connection may say before the others get their turn
_READ = 1 << 18
_MORE = socket.MSG_MORE


@dataclass(slots=True)
class Faults:
    """What this replica does wrong on purpose.

    flip: the stream offset of one byte to be sent inverted, by the first connection to get there.
    flipped: when that happened, CLOCK_REALTIME in ns.
    delay: seconds before each answer.
    """

    flip: int | None = None
    flipped: int | None = None
    delay: float = 0.0


@dataclass(slots=True)
class Peer:
    """A connection: its socket, its state, and what epoll watches for it (-1: until it is dead)."""

    sock: socket.socket
    http: Connection = field(default_factory=Connection)
    mask: int = 0
    ended: bool = False  # we have said FIN


class Replica:
    """The server. `run` returns when the lab closes the channel."""

    def __init__(self, channel: Channel, arena: Arena, *, seed: int) -> None:
        self._channel = channel
        self._arena = arena
        self._content = Content(seed)
        self._generator = random.Random()  # seeded by the system: each replica has its own
        self._faults = Faults()
        self._requests = 0
        self._peers: dict[int, Peer] = {}
        self._waiting: dict[int, float] = {}  # connections that speak later, CLOCK_MONOTONIC
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        self._listeners: dict[int, socket.socket] = {}
        self._listen()
        self._echo = {sock.fileno(): sock for sock in map(_echo_socket, (socket.AF_INET, socket.AF_INET6))}
        for fd in self._echo:
            self._epoll.register(fd, select.EPOLLIN)

    def run(self) -> None:
        self._channel.send("ready")
        while True:
            for fd, events in self._epoll.poll(self._timeout()):
                if fd == self._channel.fileno():
                    try:
                        self._command(*self._channel.receive())
                    except EOFError:
                        return
                    break  # other events may be about sockets that are gone
                if fd in self._listeners:
                    self._accept(self._listeners[fd])
                elif fd in self._echo:
                    self._answer_echo(self._echo[fd])
                elif fd in self._peers:
                    self._serve(self._peers[fd], events)
            now = time.monotonic()
            for fd in [fd for fd, when in self._waiting.items() if when <= now]:
                del self._waiting[fd]
                self._serve(self._peers[fd], select.EPOLLOUT)

    # ---- sockets

    def _listen(self) -> None:
        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            sock = socket.socket(family, socket.SOCK_STREAM)
            repair.prepare(sock)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, HTTP_PORT))
            sock.listen(1024)
            sock.setblocking(False)
            self._listeners[sock.fileno()] = sock
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:
                continue  # the client gave up meanwhile
            sock.setblocking(False)
            peer = self._peers[sock.fileno()] = Peer(sock)
            self._watch(peer)

    def _serve(self, peer: Peer, events: int) -> None:
        try:
            if events & select.EPOLLERR and (
                number := peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            ):
                raise OSError(number, "the connection failed")
            if events & (select.EPOLLIN | select.EPOLLHUP):
                self._read(peer)
            if not peer.ended:
                self._write(peer)
            self._watch(peer)
        except OSError:  # reset, or timed out
            self._forget(peer)

    def _read(self, peer: Peer) -> None:
        with suppress(BlockingIOError):
            while peer.ended and not peer.http.heard_all:
                peer.http.heard_all = not peer.sock.recv(_READ)  # whatever it says now is too late
            if peer.http.wants_input:
                data = peer.sock.recv(_READ)
                self._requests += peer.http.hear(data, self._generator, self._faults.delay)

    def _write(self, peer: Peer) -> None:
        """Say what is queued, until the socket is full or it is the others' turn."""
        budget = _TURN
        try:
            while peer.http.queue and budget > 0:
                said = self._say(peer, budget)
                if said is None:
                    return
                peer.http.said += said
                budget -= said
                if not peer.http.queue:
                    self._requests += peer.http.proceed(self._generator, self._faults.delay)
        except BlockingIOError:
            return
        if peer.http.last and not peer.http.queue:
            peer.sock.shutdown(socket.SHUT_WR)
            peer.ended = True

    def _say(self, peer: Peer, budget: int) -> int | None:
        """Send from the first item of the queue; returns the bytes taken, None when it has to wait."""
        queue, fd = peer.http.queue, peer.sock.fileno()
        item = queue[0]
        if isinstance(item, Pause):
            if item.until > time.monotonic():
                self._waiting[fd] = item.until
                return None
            queue.popleft()
            return 0
        flip = self._faults.flip
        room = budget if flip is None or flip < peer.http.said else min(budget, flip - peer.http.said)
        if not room:
            self._flip(peer, item.data[0] if isinstance(item, Data) else self._content.byte(item.position))
            sent = 1
        elif isinstance(item, Data):
            sent = peer.sock.send(item.data[:room], _MORE if len(queue) > 1 else 0)
        else:
            left = item.end - item.position
            sent = self._content.send(fd, item.position, min(room, left)) if left > 0 else 0
        rest = item.rest(sent)
        if rest:
            queue[0] = rest
        else:
            queue.popleft()
        return sent

    def _flip(self, peer: Peer, byte: int) -> None:
        peer.sock.send(bytes([byte ^ 0xFF]))
        self._faults.flip, self._faults.flipped = None, time.time_ns()

    def _watch(self, peer: Peer) -> None:
        """Have epoll tell what this connection can do next, or forget it when it is dead."""
        fd = peer.sock.fileno()
        if peer.ended:
            # Kept until the kernel is done with it, so that a checkpoint can carry closing connections too.
            if repair.state(peer.sock) is repair.State.CLOSE:
                self._forget(peer)
                return
            mask = select.EPOLLIN | select.EPOLLET  # HUP would be said again and again otherwise
        else:
            mask = select.EPOLLIN if peer.http.wants_input else 0
            if peer.http.queue and fd not in self._waiting:
                mask |= select.EPOLLOUT
        if mask != peer.mask:
            if peer.mask:
                self._epoll.modify(fd, mask)
            elif mask:
                self._epoll.register(fd, mask)
            peer.mask = mask

    def _forget(self, peer: Peer) -> None:
        self._peers.pop(peer.sock.fileno(), None)
        self._waiting.pop(peer.sock.fileno(), None)
        peer.sock.close()

    def _answer_echo(self, sock: socket.socket) -> None:
        for data, sender in _drain(sock):
            with suppress(OSError):
                sock.sendto(data, sender)

    def _timeout(self) -> float:
        return max(0.0, min(self._waiting.values()) - time.monotonic()) if self._waiting else -1

    # ---- the lab's commands

    def _command(self, word: str, argument: Any = None) -> None:
        if word == "stop":
            self._stopped()
        elif word == "fault":
            self._faults = Faults(**argument)
            self._channel.send("ok")
        elif word == "report":
            self._channel.send(
                {
                    "requests": self._requests,
                    "connections": len(self._peers),
                    "flipped": self._faults.flipped,
                }
            )

    def _stopped(self) -> None:
        """Touch no socket until told to go; give out or take in the whole state meanwhile."""
        self._channel.send("stopped")
        echoes: list[tuple[int, bytes, tuple[Any, ...]]] = []
        while True:
            word, argument = self._channel.receive()
            if word == "dump":
                state = self._dump()
                echoes = state["echoes"]  # read from the socket, so still to be answered here as well
                self._channel.send(state)
            elif word == "load":
                self._channel.send(self._load(argument))
                echoes = argument["echoes"]
            elif word == "go":
                break
        for peer in self._peers.values():
            with suppress(OSError):
                repair.release(peer.sock)
        for family, data, sender in echoes:
            with suppress(OSError):
                next(sock for sock in self._echo.values() if sock.family == family).sendto(data, sender)
        for peer in list(self._peers.values()):
            self._serve(peer, select.EPOLLIN)
        self._channel.send("going")

    def _dump(self) -> dict[str, Any]:
        for listener in self._listeners.values():
            self._accept(listener)
        self._arena.clear()
        connections, lost = [], 0
        for peer in self._peers.values():
            try:
                snap, unsent = repair.snapshot(peer.sock, self._arena)
            except (repair.Immovable, MemoryError, OSError):
                lost += 1
                continue
            ended = peer.ended and repair.has_said_fin(snap)
            connections.append((snap.plain(), peer.http.record(unsent), ended))
        return {
            "connections": connections,
            "lost": lost,
            "generator": self._generator.getstate(),
            "echoes": [(int(sock.family), *item) for sock in self._echo.values() for item in _drain(sock)],
        }

    def _load(self, state: dict[str, Any]) -> dict[str, int]:
        """Become the replica that this state was read from."""
        # The listeners stay: port 80 could not be bound again where a connection went to TIME_WAIT between
        # the two system calls of repair.release, without SO_REUSEADDR.
        for listener in self._listeners.values():
            self._accept(listener)
        for peer in self._peers.values():
            repair.vanish(peer.sock)
        self._peers.clear()
        self._waiting.clear()
        for sock in self._echo.values():
            _drain(sock)
        self._generator.setstate(state["generator"])
        lost = 0
        for tcp, http, ended in state["connections"]:
            try:
                sock = repair.recreate(repair.Snapshot(**tcp), self._arena)
            except (repair.Immovable, OSError):
                lost += 1
                continue
            peer = self._peers[sock.fileno()] = Peer(sock, Connection(**http), ended=ended)
            self._watch(peer)
        return {"connections": len(self._peers), "lost": lost}


def _echo_socket(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", ECHO_PORT))
    sock.setblocking(False)
    return sock


def _drain(sock: socket.socket) -> list[tuple[bytes, tuple[Any, ...]]]:
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(sock.recvfrom(65536))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="A replica of the lab; started by the lab.")
    parser.add_argument("--channel", type=int, required=True, help="descriptor of the socket to the lab")
    parser.add_argument("--arena", type=int, required=True, help="descriptor of the shared memory")
    parser.add_argument("--seed", type=int, default=0, help="of the content")
    arguments = parser.parse_args()
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the lab, which ends us in its order
    channel = Channel(socket.socket(fileno=arguments.channel))
    Replica(channel, Arena(arguments.arena), seed=arguments.seed).run()
