"""Sockets to listen on, and whom to let in.

TCP addresses, and UNIX paths: closed to others, and never over what is not ours.
"""

import asyncio
import errno
import grp
import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from colo_proxy.endpoints import Tcp, Unix
from colo_proxy.errors import HostError
from colo_proxy.seldom import Seldom

log = logging.getLogger("colo_proxy.listening")

_BACKLOG = 16
GRACE_S = 0.5
PAUSE_S = 1.0  # before another peer is tried where one could not be accepted
# A peer whose host has died must not keep its successor out: found out within some 11 s, idle or not.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))
_UNACKNOWLEDGED_MS = 11_000


@contextmanager
def listening(endpoint: Unix | Tcp) -> Iterator[socket.socket]:
    """Listen, non-blocking, until the context ends; a path is then removed if it is still ours.

    Raises HostError.
    """
    listener = listen(endpoint)
    path = Path(endpoint.path) if isinstance(endpoint, Unix) else None
    inode = path.stat().st_ino if path else 0
    try:
        yield listener
    finally:
        listener.close()
        if path:
            with suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()


def listen(endpoint: Unix | Tcp, group: str = "", mode: int = 0o660) -> socket.socket:
    """Make a non-blocking listening socket; a UNIX socket has this group and mode before anybody can connect.

    The socket of a dead process is replaced. That of a live one, or anything that is no socket, stays.
    Raises HostError.
    """
    if isinstance(endpoint, Unix):
        return _listen_unix(endpoint.path, group, mode)
    try:
        family, _, _, _, address = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        raise HostError(f"{endpoint}: {error.strerror}; give an address of this host") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections in TIME-WAIT
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise HostError(f"{endpoint}: {_tcp_problem(error)}") from None
    return listener


def _tcp_problem(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another process listens there; stop it or choose another port"
        case errno.EADDRNOTAVAIL:
            return "this host has no such address; give one of its own"
        case errno.EACCES:
            return "no privilege to listen on that port; choose one from 1024 on"
        case _:
            return f"{error.strerror}; choose another address"


def _listen_unix(path: str, group: str, mode: int) -> socket.socket:
    _clear_the_way(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    mask = os.umask(0o177)  # nobody else may connect before group and mode are right
    try:
        listener.bind(path)
        if group:
            _give(path, group)
        Path(path).chmod(mode)
        listener.listen(_BACKLOG)
    except HostError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        raise HostError(f"{path}: {_bind_problem(path, error)}") from None
    finally:
        os.umask(mask)
    return listener


def _give(path: str, group: str) -> None:
    """Let a file belong to a group. Raises HostError, with the file removed."""
    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        Path(path).unlink()
        raise HostError(f"{path}: there is no group {group!r}; create it, or name another") from None
    except PermissionError:
        Path(path).unlink()
        raise HostError(
            f"{path}: the proxy is not in the group {group!r}; add it (systemd: SupplementaryGroups=)"
        ) from None


def _clear_the_way(path: str) -> None:
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"{path}: {_bind_problem(path, error)}") from None
    if not stat.S_ISSOCK(mode):
        raise HostError(f"{path}: exists and is not a socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            log.info("replacing the socket of a process that is gone: %s", path)
            with suppress(FileNotFoundError):
                Path(path).unlink()
            return
        except FileNotFoundError:
            return
        except (BlockingIOError, TimeoutError):
            pass  # somebody listens there, but does not answer
        except OSError as error:
            raise HostError(f"{path}: {_bind_problem(path, error)}") from None
    raise HostError(f"{path}: another proxy is listening there; stop it or choose another path")


def _bind_problem(path: str, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"the directory does not exist; create it: mkdir {Path(path).parent}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{error.strerror}; run as a user who may write to {Path(path).parent}"
    return f"{error.strerror}; choose another path"


class Door:
    """Lets in one peer at a time.

    Who comes while another is inside is turned away, unless that one leaves within `GRACE_S`: who hangs up
    and calls again at once is not refused for being quick.

    `renew` makes the listening socket anew in place: who enters after that had not connected before.
    """

    def __init__(self, name: str, listener: socket.socket) -> None:
        self.name = name
        self._listener = listener
        self._free = asyncio.Event()
        self._free.set()
        self._renewals = 0
        self._refusals = 0
        self._refusals_told = Seldom(flood=True)

    async def enter(self) -> socket.socket:
        """Wait for the next peer; it is inside until `leave`. Its socket is non-blocking."""
        while True:
            peer = await self._accept()
            renewals = self._renewals
            try:
                async with asyncio.timeout(GRACE_S):
                    await self._free.wait()
                prepare(peer)
            except TimeoutError:
                self._refusals += 1
                if self._refusals_told.due(self._refusals):
                    log.warning(
                        "%s: another peer has connected and is rejected: there is one already (%d so far)",
                        self.name,
                        self._refusals,
                    )
                peer.close()
            except OSError as error:
                log.info("%s: a peer has disconnected at once: %s", self.name, error.strerror)
                peer.close()
            else:
                if renewals != self._renewals:
                    peer.close()
                    continue
                self._free.clear()
                log.info("%s: a peer has connected", self.name)
                return peer

    async def _accept(self) -> socket.socket:
        """The next peer, accepted in the very step that returns it: a `renew` does not come in between."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return self._listener.accept()[0]
            except BlockingIOError:
                pass
            except OSError as error:  # it has hung up in the queue, or too many files are open: no end of us
                log.warning("%s: a peer could not be accepted: %s", self.name, error.strerror)
                await asyncio.sleep(PAUSE_S)
                continue
            ready = asyncio.Event()
            loop.add_reader(self._listener, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(self._listener)

    def renew(self) -> None:
        """Turn away who has connected until now, or is about to."""
        self._renewals += 1
        if self._listener.family == socket.AF_UNIX:
            with suppress(OSError):
                while True:
                    self._listener.accept()[0].close()
        else:
            self._listener.shutdown(socket.SHUT_RD)  # Linux: ends handshakes under way, and empties the queue
            self._listener.listen(_BACKLOG)

    def leave(self) -> None:
        """The peer inside has gone."""
        self._free.set()


def prepare(peer: socket.socket) -> None:
    """Have a TCP connection say at once what it has to say, and find out when its peer has died."""
    peer.setblocking(False)
    if peer.family == socket.AF_UNIX:
        return
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        peer.setsockopt(socket.IPPROTO_TCP, option, value)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
