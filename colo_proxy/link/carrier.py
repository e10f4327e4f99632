"""Move the bytes of one open stream, both ways, until it ends: the loop of a thread that does nothing
else.

Reading and writing take turns on one non-blocking socket; what cannot be written leaves the reading alone.
(One SSL object must not be used by two threads.) The thread waits for the socket and for the channel's
doorbell only when a whole turn has moved nothing. TLS decrypts into the channel's memory and encrypts out
of it; nothing is copied in Python, and the GIL is released in between.
"""

import select
import socket
import ssl
import struct
import time
from contextlib import suppress

from colo_proxy.link.channel import Channel
from colo_proxy.link.wire import header
from colo_proxy.link.words import Kind, Notice, encode

_TURN = 16  # pieces that are read, and then written, before the other has its turn
_PIECE = 1 << 18  # bytes that are read at once, at most; TLS gives 16 KiB
_CLOSING = 1.0  # s to send what is queued, and the close
_WOULD_BLOCK = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, InterruptedError)


class Orders:
    """What other threads want of a carrier. Whoever sets one of these rings the channel (`Channel.wake`)."""

    def __init__(self) -> None:
        self.closing: str | None = None  # send what is queued, then close; why
        self.cut: str | None = None  # end at once, and forget what is queued; why


class _Ended(Exception):
    """The stream has ended; why."""


def carry(sock: socket.socket, channel: Channel, orders: Orders) -> str:
    """Move bytes until the stream ends. Returns why, with the socket closed and `channel` ended."""
    sock.setblocking(False)
    try:
        why = _carry(sock, channel, orders)
    except _Ended as ended:
        why = str(ended)
    except ssl.SSLEOFError:
        why = "the stream has been cut off"
    except ssl.SSLError as error:
        why = f"TLS has failed: {error.reason or error.strerror}"
    except OSError as error:
        why = f"the connection is lost: {error.strerror or error}"
    channel.end()
    sock.close()
    return why


def _carry(sock: socket.socket, channel: Channel, orders: Orders) -> str:
    """Move bytes until this host ends the stream; returns why. Raises _Ended, OSError."""
    carrier = _Carrier(sock, channel)
    while orders.cut is None:
        why = channel.failure or orders.closing
        if why is not None:
            carrier.close(why)
            return why
        carrier.turn()
    _forget(sock)
    return orders.cut


def _forget(sock: socket.socket) -> None:
    """Have close(2) reset the connection, so that nothing that waits in the kernel is sent any more."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Carrier:
    """The two directions of one stream, and what each waits for."""

    def __init__(self, sock: socket.socket, channel: Channel) -> None:
        self._sock = sock
        self._channel = channel
        # TLS may hold bytes that the socket does not show, so the first turn tries.
        self._readable = self._writable = True
        self._both, self._bell = select.poll(), select.poll()
        for each in (self._both, self._bell):
            each.register(channel.link_bell, select.POLLIN)

    def turn(self, seconds: float | None = None) -> None:
        """Read and write a little, or wait until that is possible. Raises _Ended, OSError."""
        moved = self._read() | self._write()
        if not moved:
            self._wait(seconds)

    def _read(self) -> bool:
        moved = False
        for _ in range(_TURN if self._readable else 0):
            room = self._channel.room()
            if room is None:
                break
            try:
                got = self._sock.recv_into(room, min(len(room), _PIECE))
            except _WOULD_BLOCK:
                self._readable = False
                break
            if got == 0:
                raise _Ended("the other host has closed the stream")
            self._channel.filled(got)
            moved = True
        return moved

    def _write(self) -> bool:
        moved = False
        for _ in range(_TURN if self._writable else 0):
            data = self._channel.outgoing()
            if data is None:
                break
            try:
                self._channel.sent(self._sock.send(data))
            except _WOULD_BLOCK:
                self._writable = False
                break
            moved = True
        return moved

    def _wait(self, seconds: float | None) -> None:
        mask = (0 if self._readable else select.POLLIN) | (0 if self._writable else select.POLLOUT)
        waits = self._bell  # there is no room to read, and nothing is wanted of the socket, not even its end
        if mask:
            waits = self._both
            waits.register(self._sock, mask)
        for descriptor, events in waits.poll(None if seconds is None else seconds * 1000):
            if descriptor == self._channel.link_bell:
                self._channel.silence()
            elif events & (select.POLLERR | select.POLLHUP | select.POLLIN):
                # TLS may have to read before it can write, too.
                self._readable = self._writable = True
            elif events & select.POLLOUT:
                self._writable = True

    def close(self, why: str) -> None:
        """Send what is queued, the close and TLS's own; then wait for the other's end. All of it briefly."""
        deadline = time.monotonic() + _CLOSING
        text = "".join(each if " " <= each <= "~" else "?" for each in why[:200]) or "closed"
        kind, flags, nic, body = encode(Notice(Kind.CLOSE, text))
        with suppress(_Ended, OSError):
            while self._channel.outgoing() is not None or self._channel.mid_record:
                if (left := deadline - time.monotonic()) <= 0:
                    return
                self.turn(left)
            self._sock.settimeout(max(0.01, deadline - time.monotonic()))
            self._sock.sendall(header(kind, flags, nic, len(body)) + body)
            if isinstance(self._sock, ssl.SSLSocket):
                self._sock.setblocking(False)
                with suppress(OSError):
                    self._sock.unwrap()
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._sock.settimeout(left)
                if not socket.socket.recv(self._sock, 65536):
                    return
