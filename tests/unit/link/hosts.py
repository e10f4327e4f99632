"""For the tests of the link: certificates, this host's end and the other's on loopback, and strangers."""

import gc
import queue
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from colo_proxy.endpoints import Tcp
from colo_proxy.link import opening as messages
from colo_proxy.link.channel import Channel
from colo_proxy.link.link import Ended, Link, Opened, Settings
from colo_proxy.link.opening import Opening, digest
from colo_proxy.link.tls import Credentials
from colo_proxy.link.words import Word, decode, encode

PAIRING = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
OTHER_PAIRING = "6ba7b811-9dad-41d1-80b4-00c04fd430c8"
SECONDS = 30  # until something that must happen counts as not happening
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """Issues certificates into a directory, with the openssl command."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.path = folder, folder / f"{name}.crt"
        self._key = folder / f"{name}.key"
        where = "-keyout", self._key, "-out", self.path
        self._openssl("req", "-x509", *_KEY, *where, "-subj", f"/CN={name}", "-days", 30)

    @staticmethod
    def _openssl(*words: object) -> None:
        done = subprocess.run(["openssl", *map(str, words)], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def issue(self, name: str, *, file: str = "", days: int = 30, more: str = "") -> tuple[Path, Path]:
        """A certificate for DNS:`name` ("" for none, but a common name) and its key."""
        certificate, key, request = (
            self.folder / f"{file or name}.{suffix}" for suffix in ("crt", "key", "csr")
        )
        extensions = [f"subjectAltName=DNS:{name}"] * bool(name) + [more] * bool(more)
        added = [word for each in extensions for word in ("-addext", each)]
        self._openssl("req", *_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={file or name}", *added)
        self._openssl("x509", "-req", "-in", request, "-CA", self.path, "-CAkey", self._key,
                      "-copy_extensions", "copy", "-days", days, "-out", certificate)  # fmt: skip
        return certificate, key


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"), "ca")
    for name in ("a", "b", "c"):
        made.issue(name)
    return made


def files(authority: Authority, host: str, *, file: str = "") -> Credentials:
    peer = "b" if host == "a" else "a"
    name = authority.folder / (file or host)
    return Credentials(host, peer, f"{name}.crt", f"{name}.key", str(authority.path))


def opening(host: str, pairing: str | None = PAIRING) -> Opening:
    return Opening("default", "web1", host, pairing, 3, digest([["52:54:00:00:00:02"]], []))


class Host:
    """A link and what it tells, from a test's point of view: it is the data path, too."""

    link: Link

    def __init__(self) -> None:
        self.told: queue.Queue[Opened | Ended] = queue.Queue()

    def next(self, kind: type[Opened] | type[Ended]) -> Opened | Ended:
        found = self.told.get(timeout=SECONDS)
        assert isinstance(found, kind), found
        return found

    def opened(self) -> Channel:
        return self.next(Opened).channel

    def ended(self) -> str:
        found = self.next(Ended)
        assert isinstance(found, Ended)
        assert found.channel.ended
        return found.why


@contextmanager
def host(
    authority: Authority | None, name: str, port: int = 0, *, file: str = "", begin: Opening | None = None
) -> Iterator[Host]:
    """One end: `a` calls port `port`, `b` listens there."""
    here = Tcp("127.0.0.1", port)
    proofs = files(authority, name, file=file) if authority else None
    made = Host()
    made.link = Link(Settings(name, "b" if name == "a" else "a", here, here, proofs), made.told.put)
    made.link.begin(begin or opening(name))
    try:
        yield made
    finally:
        made.link.close()


def join_streams(but: int = 0) -> None:
    """Wait until no thread of a connection is left, or only the oldest ones."""
    until = time.monotonic() + SECONDS
    while len(left := [each for each in threading.enumerate() if each.name == "link-stream"]) > but:
        assert time.monotonic() < until, left
        for thread in left[but:]:
            if thread.ident is not None:  # it has started
                thread.join(SECONDS)
    gc.collect()


def port(listening: Host) -> int:
    address = listening.link.address
    assert address is not None
    return address.port


@contextmanager
def pair(authority: Authority | None) -> Iterator[tuple[Host, Host, Channel, Channel]]:
    """Both ends, with a stream that is open."""
    with host(authority, "b") as b, host(authority, "a", port(b)) as a:
        yield a, b, a.opened(), b.opened()


def send(channel: Channel, *words: Word) -> None:
    for word in words:
        assert channel.send_word(*encode(word))
    channel.flush()


def receive(channel: Channel, count: int = 1) -> list[Word]:
    """The next words, waited for as a data path does."""
    found: list[Word] = []
    while len(found) < count:
        record = channel.receive()
        if record is not None:
            found.append(decode(*record))
        else:
            wait(channel)
    return found


def wait(channel: Channel) -> None:
    """Until something may have come."""
    assert select.select([channel.data_bell], [], [], SECONDS)[0], "nothing has come"
    channel.hear()


class Stranger:
    """A client without our code: over TCP or, with a context, over TLS."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None, source: str = "127.0.0.1") -> None:
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", port), SECONDS, (source, 0))
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname="b")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def greet(self, mine: Opening, version: int = 1) -> None:
        """The opening as a right host makes it, or one that only says so."""
        self.sock.sendall(messages.encode(mine))
        self.message()
        self.sock.sendall(messages.accept(version))
        messages.accepted(self.message(), version)

    def message(self) -> bytes:
        return self.exactly(messages.size(self.exactly(messages.PREFIX)))

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            got = self.sock.recv(size - len(data))
            if not got:
                raise ConnectionError("it has hung up")
            data += got
        return data

    def is_dropped(self) -> bool:
        """Wait until the other end has closed."""
        with suppress(ConnectionError, ssl.SSLError):
            while self.sock.recv(65536):
                pass
        return True


def client(authority: Authority, name: str, *, trusting: Authority | None = None) -> ssl.SSLContext:
    """A client's context with the certificate of this name, whoever's it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations((trusting or authority).path)
    context.load_cert_chain(authority.folder / f"{name}.crt", authority.folder / f"{name}.key")
    return context
