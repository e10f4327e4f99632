"""The link of this host: connects or listens, opens streams, and has each carried by a thread of its own.

The host whose name sorts first calls; the other one listens. So there is never more than one attempt, and
the host that calls has no open port. A stream that is opened while another is there replaces it, since who
calls does so only when its own end of that one is gone.

Threads: one that calls, or one that listens; and one for each connection until it is refused, or open and
then for its life. `HALF_OPEN` connections may be between connect(2) and the open stream. Beyond, the
oldest is dropped for the newest, and one from the other host's address is the last to be dropped. So who
only connects can neither use up memory nor keep the other host out.
"""

import logging
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from colo_proxy.endpoints import Tcp
from colo_proxy.host.listening import listen, prepare
from colo_proxy.link.carrier import Orders, carry
from colo_proxy.link.channel import Channel
from colo_proxy.link.handshake import establish
from colo_proxy.link.opening import Opening, Refused
from colo_proxy.link.tls import Contexts, Credentials, load
from colo_proxy.seldom import Seldom

log = logging.getLogger("colo_proxy.link")

HALF_OPEN = 16
_UNSENT = 64 * 1024  # bytes that may wait in the kernel
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # s between attempts to connect
_CONNECT = 1.0  # s
_BACKLOG = 1024  # connections that the kernel keeps for us: a burst must not cost the other host its SYN
_MAPPED = "::ffff:"  # before an IPv4 address, where the listening socket is one of IPv6 (RFC 4291, 2.5.5.2)
_DROPPED = 0.002  # s until another one is dropped for who waits
_ACCEPT_PAUSE = 0.2  # s, where a connection could not be accepted


class Settings(NamedTuple):
    """Of this host's end. `files` is None only for plain TCP."""

    host: str
    peer_host: str
    listen: Tcp
    peer: Tcp
    files: Credentials | None

    @property
    def calls(self) -> bool:
        """This host connects to the other."""
        return self.host < self.peer_host


class Opened(NamedTuple):
    """A stream is open."""

    channel: Channel
    theirs: Opening
    version: int


class Ended(NamedTuple):
    """It has ended; why, for an operator."""

    channel: Channel
    why: str


class _Connection:
    """One connection, from its first byte to its last."""

    def __init__(self, sock: socket.socket, *, peers: bool) -> None:
        self.peers = peers  # it is from the other host's address
        self.orders = Orders()
        self.channel: Channel | None = None  # of an open stream
        self.gone = threading.Event()
        self._handle = sock.dup()  # the same connection, whatever TLS makes of the socket

    def drop(self) -> None:
        """End it, from any thread: whatever its own thread waits for comes at once."""
        with suppress(OSError):
            self._handle.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give up this hold on it: with the socket closed, it is closed in the kernel now."""
        self._handle.close()


class Link:
    """This host's end of the link. `told` is called with Opened and Ended, in order, by the link's threads.

    It must not block, nor call the link; `loop.call_soon_threadsafe` suits. Nothing is opened before `begin`.
    """

    def __init__(self, settings: Settings, told: Callable[[Opened | Ended], None]) -> None:
        """Raises HostError: the files cannot be used, or nobody can listen there."""
        self._settings = settings
        self._told = told
        self._contexts: Contexts | None = load(settings.files) if settings.files else None
        self._lock = threading.Condition()
        self._mine: Opening | None = None  # streams of it are opened
        self._cut: set[str | None] = set()
        self._open: _Connection | None = None
        self._half_open: list[_Connection] = []
        self._closing: str | None = None
        self._slots = threading.BoundedSemaphore(HALF_OPEN)
        self._refusals = 0
        self._refusals_told = Seldom(flood=True)
        self._peer_addresses = frozenset(_addresses(settings.peer))
        self._listener = None if settings.calls else listen(settings.listen)
        if self._listener is None:
            self._thread = threading.Thread(target=self._call, name="link", daemon=True)
        else:
            self._listener.listen(_BACKLOG)
            self._thread = threading.Thread(
                target=self._accept, args=(self._listener,), name="link", daemon=True
            )
        self._thread.start()

    @property
    def address(self) -> Tcp | None:
        """Where this host listens, or None: it calls."""
        return Tcp(*self._listener.getsockname()[:2]) if self._listener else None

    def begin(self, mine: Opening) -> None:
        """Open streams of this pairing from now on; one of another pairing or configuration ends.

        Raises ValueError for a pairing that has been cut: a cut is never undone.
        """
        with self._lock:
            if mine.pairing is not None and mine.pairing in self._cut:
                raise ValueError(f"the stream of pairing {mine.pairing} has been cut for good")
            before, self._mine = self._mine, mine
            if before is not None and not _same(before, mine):
                self._end("this host has begun another pairing")
            self._lock.notify_all()

    def cut(self) -> None:
        """Shut this host's end of the stream at once and for good: nothing is sent or acknowledged any more.

        Returns when it is shut. Streams open again only after `begin` with another pairing.
        """
        with self._lock:
            if self._mine is not None:
                self._cut.add(self._mine.pairing)
            self._mine = None
            connection = self._open
            if connection is not None:
                connection.orders.cut = "this host has cut the stream"
                self._wake(connection)
        if connection is not None:
            connection.gone.wait()

    def renew(self) -> None:
        """Read the certificates again, for the next stream. Raises HostError, and keeps what it had."""
        if self._settings.files:
            self._contexts = load(self._settings.files)

    def close(self, why: str = "the proxy ends") -> None:
        """End the stream, tell the other host why, and let all threads end."""
        with self._lock:
            self._closing = why
            self._mine = None
            self._end(why)
            for each in self._half_open:
                each.drop()
            self._lock.notify_all()
            if self._listener is not None:
                with suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        with self._lock:
            connections = [*self._half_open, *filter(None, [self._open])]
        for each in connections:
            each.gone.wait()
        if self._listener is not None:
            self._listener.close()

    def _end(self, why: str) -> None:
        """Close the stream that is open. Under the lock."""
        if self._open is not None:
            self._open.orders.closing = why
            self._wake(self._open)

    @staticmethod
    def _wake(connection: _Connection) -> None:
        if connection.channel is not None:
            connection.channel.wake()

    # ---- the host that calls

    def _call(self) -> None:
        """Connect, have the stream carried, and connect again; its thread."""
        pause, attempts, told = _FIRST_PAUSE, 0, Seldom()
        peer = self._settings.peer
        before: Opening | None = None
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._mine is not None or self._closing is not None)
                mine = self._mine
                if self._closing is not None or mine is None:
                    return
            if mine is not before:  # the other host may begin the same at this moment
                before, pause = mine, _FIRST_PAUSE
            try:
                sock = socket.create_connection((peer.host, peer.port), _CONNECT)
            except OSError as error:
                why = f"no connection: {error.strerror or error}"
            else:
                self._slots.acquire()
                why = self._serve(sock, peer.host, mine)
            if not why:
                pause, attempts = _FIRST_PAUSE, 0
            else:
                attempts += 1
                if told.due(attempts):
                    log.warning("link to %s: %s (attempt %d)", peer, why, attempts)
            self._rest(mine, pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _rest(self, mine: Opening, seconds: float) -> None:
        """Until it is time for the next attempt, or something else is wanted."""
        with self._lock:
            self._lock.wait_for(lambda: self._mine is not mine or self._closing is not None, seconds)

    # ---- the host that listens

    def _accept(self, listener: socket.socket) -> None:
        """Take connections, each into a thread of its own; its thread."""
        waits = select.poll()
        waits.register(listener, select.POLLIN)
        while True:
            waits.poll()
            with self._lock:
                if self._closing is not None:
                    return
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:  # too many files are open: no end of us
                self._refuse(f"no connection can be accepted: {error.strerror}")
                with self._lock:
                    self._lock.wait_for(lambda: self._closing is not None, _ACCEPT_PAUSE)
                continue
            self._take_slot()
            thread = threading.Thread(
                target=self._answer, args=(sock, address[0]), name="link-stream", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # the system gives no more threads
                sock.close()
                self._slots.release()
                self._refuse(f"a connection from {address[0]} is refused: {error}")

    def _take_slot(self) -> None:
        """Make room for one more connection between its beginning and its opening."""
        while not self._slots.acquire(timeout=_DROPPED):
            with self._lock:
                victims = sorted(self._half_open, key=lambda each: each.peers)  # stable: the oldest first
                if victims:
                    victims[0].drop()

    def _answer(self, sock: socket.socket, address: str) -> None:
        """The life of one connection; its thread."""
        with self._lock:
            mine = self._mine
        why = self._serve(sock, address, mine)
        if why:
            self._refuse(f"a connection from {address} is refused: {why}")

    def _refuse(self, line: str) -> None:
        """Log this, unless too many strangers cause too many lines."""
        with self._lock:
            self._refusals += 1
            count = self._refusals
            closing = self._closing is not None
        if not closing and self._refusals_told.due(count):
            log.warning("link: %s (%d so far)", line, count)

    # ---- both

    def _serve(self, sock: socket.socket, address: str, mine: Opening | None) -> str:
        """Open a stream and carry it. A slot is this one's; returns why no stream was opened, or ""."""
        try:
            connection = _Connection(sock, peers=address.removeprefix(_MAPPED) in self._peer_addresses)
        except OSError as error:
            sock.close()
            self._slots.release()
            return f"it cannot be served: {error.strerror}"
        with self._lock:
            self._half_open.append(connection)
        half_open = True
        try:
            if mine is None or self._closing is not None:
                sock.close()
                return "this host opens no stream now"
            _options(sock)
            sock, theirs, version = establish(
                sock, mine, self._settings.peer_host, self._contexts, calling=self._settings.calls
            )
            channel = connection.channel = Channel()
            former = self._install(connection, mine)
            half_open = False
            if former is not None:
                former.gone.wait()
            log.info("link: a stream with %s is open, version %d", address, version)
            self._told(Opened(channel, theirs, version))
            why = carry(sock, channel, connection.orders)
            connection.release()
            self._told(Ended(channel, why))
            log.info("link: the stream with %s has ended: %s", address, why)
            return ""
        except Refused as refusal:
            sock.close()
            return str(refusal)
        except OSError as error:
            sock.close()
            return f"it cannot be served: {error.strerror or error}"
        finally:
            with self._lock:
                if half_open:
                    self._half_open.remove(connection)
                    self._slots.release()
                if self._open is connection:
                    self._open = None
            connection.release()
            connection.gone.set()

    def _install(self, connection: _Connection, mine: Opening) -> _Connection | None:
        """Make this the stream that is open; returns the one that it replaces. Raises Refused."""
        with self._lock:
            if self._mine is None or not _same(self._mine, mine):
                raise Refused("this host has begun another pairing meanwhile")
            former, self._open = self._open, connection
            self._half_open.remove(connection)
            self._slots.release()
            if former is not None:
                former.orders.cut = "the other host has opened another stream"
                self._wake(former)
            return former


def _same(one: Opening, other: Opening) -> bool:
    """Whether a stream of the one is a stream of the other: the generation does not matter."""
    return one._replace(g=0) == other._replace(g=0)


def _addresses(peer: Tcp) -> list[str]:
    """The other host's, as far as they are known now."""
    try:
        return [str(each[4][0]) for each in socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)]
    except OSError:
        return []


def _options(sock: socket.socket) -> None:
    """Send at once, keep little in the kernel, and find out when the other host has died."""
    prepare(sock)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
