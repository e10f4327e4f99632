"""Carry live TCP connections from one network namespace to another with TCP_REPAIR.

In repair mode a socket gives out its sequence numbers, windows and queued bytes, and takes them in,
without a packet being sent (tcp(7) is silent on it; linux/tcp.h, net/ipv4/tcp.c). What moves and how:

- ESTABLISHED and every state in which one side has said FIN moves. Our own FIN is put back by shutdown
  in repair mode; the peer's, and an acknowledgement of ours, by a segment made here and sent over loopback.
- Bytes that were queued but never sent are handed back to the application, which sends them again.
- Not moved: connections still in the handshake, TIME_WAIT, segments received out of order (the peer sends
  them again), and congestion state (the new socket starts slowly).

All of this expects that the VM's NIC is stopped (nic.py), or the kernel would answer in between.
"""

import array
import fcntl
import socket
import struct
import termios
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from .arena import Arena

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_OPTIONS = 19, 20, 21, 22
TCP_TIMESTAMP, TCP_REPAIR_WINDOW = 24, 29
_ON, _OFF_QUIETLY = 1, -1  # -1: without the window probe that 0 sends
_NO_QUEUE, _RECEIVE, _SEND = 0, 1, 2
_SIOCOUTQNSD = 0x894B
_WINDOW = struct.Struct("=5I")  # struct tcp_repair_window: snd_wl1, snd_wnd, max_window, rcv_wnd, rcv_wup
_OPT_MSS, _OPT_WINDOW, _OPT_SACK, _OPT_TIMESTAMP = 2, 3, 4, 8  # TCPOPT_*
_INFO_TIMESTAMPS, _INFO_SACK, _INFO_WSCALE = 1, 2, 4  # TCPI_OPT_*
_MOD = 1 << 32

CARRIED = 1  # SO_MARK of connections that were carried here; topology.py routes them
SEND_BUFFER, RECEIVE_BUFFER = 4 << 20, 2 << 20  # fixed: a carried connection finds the same room


class State(IntEnum):
    """TCP states as the kernel numbers them (linux/tcp_states.h)."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


_FIN_SAID = {State.FIN_WAIT1, State.FIN_WAIT2, State.CLOSING, State.LAST_ACK}
_FIN_HEARD = {State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK}
_WITHOUT_OUR_FIN = {
    State.FIN_WAIT1: State.ESTABLISHED,
    State.CLOSING: State.CLOSE_WAIT,
    State.LAST_ACK: State.CLOSE_WAIT,
}
_MOVABLE = {State.ESTABLISHED} | _FIN_SAID | _FIN_HEARD


class Immovable(Exception):
    """This connection cannot be carried over."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One connection, as much of it as the kernel gives out. Sequence numbers are modulo 2**32."""

    family: int
    local: tuple[Any, ...]
    peer: tuple[Any, ...]
    state: int  # a FIN that is queued but not sent does not count
    una: int  # the oldest byte that the peer has not acknowledged
    rcv: int  # the oldest byte that the application has not read
    sent: tuple[int, int]  # in flight; its place in the arena
    received: tuple[int, int]
    mss: int
    options: int  # TCPI_OPT_*
    scales: int  # the peer's window scale | ours << 16
    window: tuple[int, ...]
    timestamp: int  # ms
    taken: int  # CLOCK_MONOTONIC, ns

    def plain(self) -> dict[str, Any]:
        """Built-in types only, for the channel; `Snapshot(**plain)` is the way back."""
        return asdict(self)


def prepare(sock: socket.socket) -> None:
    """Options that a listener, and so its connections, and a carried connection share."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 128 << 10)  # little is ever unsent


def state(sock: socket.socket) -> State:
    """The connection's TCP state now."""
    return State(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0])


def has_said_fin(snap: Snapshot) -> bool:
    return snap.state in _FIN_SAID


def snapshot(sock: socket.socket, arena: Arena) -> tuple[Snapshot, bytes]:
    """Read a connection out; it stays as it is. Also returns the bytes that were queued but never sent.

    Raises Immovable for one that cannot be carried, MemoryError.
    """
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    now = State(info[0])
    if now not in _MOVABLE:
        raise Immovable(now.name)
    _set(sock, TCP_REPAIR, _ON)
    try:
        outstanding, unsent = _ioctl(sock, termios.TIOCOUTQ), _ioctl(sock, _SIOCOUTQNSD)
        rcv_end, count, room = _queue(sock, _RECEIVE, _ioctl(sock, termios.FIONREAD), arena)
        received = arena.keep(0, count)
        end, count, room = _queue(sock, _SEND, outstanding, arena)
        una = (end - outstanding) % _MOD
        if now in _FIN_SAID and now is not State.FIN_WAIT2:  # the kernel counts our FIN as the last byte
            outstanding -= 1
            if unsent:
                unsent -= 1
                now = _WITHOUT_OUR_FIN[now]
        skip = count - outstanding  # a partly acknowledged segment begins below una
        unsent_bytes = bytes(room[count - unsent : count])
        snap = Snapshot(
            family=int(sock.family),
            local=sock.getsockname(),
            peer=sock.getpeername(),
            state=int(now),
            una=una,
            rcv=(rcv_end - (now in _FIN_HEARD) - received[1]) % _MOD,
            sent=arena.keep(skip, outstanding - unsent),
            received=received,
            mss=sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG),
            options=info[5],
            scales=(info[6] & 15) | (info[6] >> 4) << 16,
            window=_WINDOW.unpack(sock.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, _WINDOW.size)),
            timestamp=sock.getsockopt(socket.IPPROTO_TCP, TCP_TIMESTAMP) % _MOD,
            taken=time.monotonic_ns(),
        )
        return snap, unsent_bytes
    finally:
        release(sock)


def recreate(snap: Snapshot, arena: Arena) -> socket.socket:
    """Make the connection anew, here; it stays in repair mode until `release`.

    Raises Immovable, or OSError where the kernel refuses a value.
    """
    sock = socket.socket(snap.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        prepare(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, CARRIED)
        _set(sock, TCP_REPAIR, _ON)  # after SO_REUSEADDR: it lets a port be bound where somebody listens
        sock.bind(snap.local)
        _seq(sock, _SEND, snap.una)
        _seq(sock, _RECEIVE, snap.rcv)
        _set(sock, socket.TCP_MAXSEG, snap.mss)  # TCP_REPAIR_OPTIONS sets the limit, but not the size in use
        sock.connect(snap.peer)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_OPTIONS, _options(snap))
        _fill(sock, _RECEIVE, arena.read(snap.received))
        _fill(sock, _SEND, arena.read(snap.sent))
        wl1, wnd, largest, rcv_wnd, wup = snap.window
        rcv_nxt = (snap.rcv + snap.received[1]) % _MOD
        if snap.state in _FIN_HEARD and wup == (rcv_nxt + 1) % _MOD:
            wup = rcv_nxt  # the FIN is delivered again below
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, _WINDOW.pack(wl1, wnd, largest, rcv_wnd, wup))
        elapsed = (
            time.monotonic_ns() - snap.taken
        ) // 1_000_000  # the clock went on meanwhile (RFC 7323, PAWS)
        sock.setsockopt(
            socket.IPPROTO_TCP, TCP_TIMESTAMP, struct.pack("=I", (snap.timestamp + elapsed) % _MOD)
        )
        _close_as(sock, snap, rcv_nxt)
    except BaseException:
        vanish(sock)
        raise
    return sock


def release(sock: socket.socket) -> None:
    """Back from repair mode, without a word to the peer."""
    _set(sock, TCP_REPAIR, _OFF_QUIETLY)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # repair mode took it away


def vanish(sock: socket.socket) -> None:
    """Close a connection without a FIN or RST (tcp_close in repair mode only disconnects)."""
    with suppress(OSError):  # already closed: it has nothing to say any more
        _set(sock, TCP_REPAIR, _ON)
    sock.close()


def _close_as(sock: socket.socket, snap: Snapshot, rcv_nxt: int) -> None:
    """Bring a fresh connection from ESTABLISHED to the closing state of the snapshot."""
    target = State(snap.state)
    una_after = (snap.una + snap.sent[1] + 1) % _MOD
    if target in (State.CLOSE_WAIT, State.LAST_ACK):  # the peer was first
        _deliver(snap, rcv_nxt, snap.una, fin=True)
    if target in _FIN_SAID:
        _set(sock, TCP_REPAIR_QUEUE, _SEND)
        sock.shutdown(socket.SHUT_WR)
        _set(sock, TCP_REPAIR_QUEUE, _NO_QUEUE)
    if target is State.CLOSING:
        _deliver(snap, rcv_nxt, snap.una, fin=True)
    elif target is State.FIN_WAIT2:
        _deliver(snap, rcv_nxt, una_after, fin=False)
    reached = state(sock)
    if reached is not target:
        raise Immovable(f"{target.name}, but {reached.name} was reached")


def _deliver(snap: Snapshot, seq: int, ack: int, *, fin: bool) -> None:
    """Hand the connection a segment as if its peer had sent it, over loopback. No timestamp option: it would
    become the connection's latest, and the peer's own would look old (RFC 7323, section 5.3)."""
    source, target = (socket.inet_pton(snap.family, end[0]) for end in (snap.peer, snap.local))
    flags = 0x10 | (0x01 if fin else 0)
    window = min(65535, snap.window[1] >> (snap.scales & 15))
    header = struct.pack("!HHIIBBHHH", snap.peer[1], snap.local[1], seq, ack, 5 << 4, flags, window, 0, 0)
    pseudo = source + target + struct.pack("!IHBB", len(header), 0, 0, socket.IPPROTO_TCP)
    words = array.array("H", pseudo + header)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:16] + struct.pack("=H", ~total & 0xFFFF) + header[18:]
    if snap.family == socket.AF_INET:
        packet = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(header), 0, 0, 64, socket.IPPROTO_TCP, 0)
    else:
        packet = struct.pack("!IHBB", 6 << 28, len(header), socket.IPPROTO_TCP, 64)
    with socket.socket(snap.family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(packet + source + target + header, (snap.local[0], 0))


def _options(snap: Snapshot) -> bytes:
    options = [(_OPT_MSS, snap.mss)]
    if snap.options & _INFO_WSCALE:
        options.append((_OPT_WINDOW, snap.scales))
    if snap.options & _INFO_SACK:
        options.append((_OPT_SACK, 0))
    if snap.options & _INFO_TIMESTAMPS:
        options.append((_OPT_TIMESTAMP, 0))
    return b"".join(struct.pack("=II", *option) for option in options)


def _queue(sock: socket.socket, queue: int, count: int, arena: Arena) -> tuple[int, int, memoryview]:
    """Peek at a queue: the sequence number after its end, how many bytes there were, and where they are (some
    more than `count` in the send queue, whose first segment may be partly acknowledged)."""
    _set(sock, TCP_REPAIR_QUEUE, queue)
    end = sock.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) % _MOD
    room = arena.room(count + 65536)
    got = sock.recv_into(room, 0, socket.MSG_PEEK) if count else 0
    _set(sock, TCP_REPAIR_QUEUE, _NO_QUEUE)
    return end, got, room


def _fill(sock: socket.socket, queue: int, data: memoryview) -> None:
    if data:
        _set(sock, TCP_REPAIR_QUEUE, queue)
        while data:
            data = data[sock.send(data[: 1 << 20]) :]
        _set(sock, TCP_REPAIR_QUEUE, _NO_QUEUE)


def _seq(sock: socket.socket, queue: int, value: int) -> None:
    _set(sock, TCP_REPAIR_QUEUE, queue)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("=I", value))


def _set(sock: socket.socket, option: int, value: int) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _ioctl(sock: socket.socket, request: int) -> int:
    return int(struct.unpack("=i", fcntl.ioctl(sock, request, bytes(4)))[0])
