"""Strangers on the link's port: each is refused in a line, and nothing is disturbed."""

import contextlib
import logging
import resource
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from unit.link.hosts import (
    OTHER_PAIRING,
    PAIRING,
    SECONDS,
    Authority,
    Host,
    Stranger,
    client,
    host,
    join_streams,
    opening,
    pair,
    port,
    receive,
    send,
)

from colo_proxy.link import handshake
from colo_proxy.link import opening as messages
from colo_proxy.link.link import HALF_OPEN
from colo_proxy.link.opening import Opening, Refused
from colo_proxy.link.words import Kind, Mark

A, B = "127.0.0.1", "127.0.0.2"  # the other host's address, and a stranger's


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """The line of the one refusal, without the address; waits for it."""
    caplog.set_level(logging.WARNING, "colo_proxy.link")

    def line() -> str:
        join_streams()
        [message] = caplog.messages
        assert message.isprintable()
        return message.partition("is refused: ")[2].removesuffix(" (1 so far)")

    return line


def refuses(b: Host, context: ssl.SSLContext | None, mine: Opening | None = None) -> None:
    """Connect, and see that it is of no use."""
    try:
        with Stranger(port(b), context) as stranger:
            if mine is not None:
                stranger.greet(mine)
            assert stranger.is_dropped()
    except (ssl.SSLError, ConnectionError):
        pass
    assert b.told.empty()


def test_a_certificate_of_another_name(authority: Authority, lines: Callable[[], str]) -> None:
    with host(authority, "b") as b:
        refuses(b, client(authority, "c"), opening("a"))
        assert lines() == "its certificate is for c, not for a"


def test_a_right_certificate_and_another_name(authority: Authority, lines: Callable[[], str]) -> None:
    """What the opening says must be what the certificate says."""
    with host(authority, "b") as b:
        with pytest.raises(Refused, match="it refuses this host: its host is c, expected a"):
            refuses(b, client(authority, "a"), opening("c"))
        assert lines() == "its host is c, expected a"


def test_an_expired_certificate(authority: Authority, lines: Callable[[], str]) -> None:
    authority.issue("a", file="expired", days=-1)
    with host(authority, "b") as b:
        refuses(b, client(authority, "expired"), opening("a"))
        assert lines() == "its certificate is not accepted: certificate has expired"


def test_a_certificate_of_another_authority(
    authority: Authority, tmp_path: Path, lines: Callable[[], str]
) -> None:
    other = Authority(tmp_path, "other")
    other.issue("a")
    with host(authority, "b") as b:
        refuses(b, client(other, "a", trusting=authority), opening("a"))
        assert lines() == "its certificate is not accepted: unable to get local issuer certificate"


def test_no_certificate(authority: Authority, lines: Callable[[], str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.path)
    with host(authority, "b") as b:
        refuses(b, context, opening("a"))
        assert lines() == "TLS 1.3 with it has failed: peer did not return a certificate"


def test_tls_1_2(authority: Authority, lines: Callable[[], str]) -> None:
    context = client(authority, "a")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with host(authority, "b") as b:
        refuses(b, context)
        assert lines() == "TLS 1.3 with it has failed: unsupported protocol"


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
def test_http(authority: Authority, lines: Callable[[], str], secure: bool) -> None:
    with host(authority if secure else None, "b") as b:
        with Stranger(port(b)) as stranger:
            stranger.sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: b\r\n\r\n")
            assert stranger.is_dropped()
        assert lines() == (
            "TLS 1.3 with it has failed: http request"
            if secure
            else "what it sends is not the link of a colo-proxy"
        )
        assert b.told.empty()


def test_garbage_over_tls(authority: Authority, lines: Callable[[], str]) -> None:
    with host(authority, "b") as b:
        with Stranger(port(b), client(authority, "a")) as stranger:
            with contextlib.suppress(OSError):  # the host may have hung up before it has all
                stranger.sock.sendall(b"\xff" * 100_000)
            assert stranger.is_dropped()
        assert lines() == "what it sends is not the link of a colo-proxy"


def test_an_opening_that_is_none(authority: Authority, lines: Callable[[], str]) -> None:
    with host(authority, "b") as b:
        with Stranger(port(b), client(authority, "a")) as stranger:
            stranger.sock.sendall((4096).to_bytes(4) + b"[" * 4096)
            assert stranger.is_dropped()
        assert lines() == "what it sends is not the link of a colo-proxy"


@pytest.mark.parametrize(
    ("mine", "line"),
    [
        (
            opening("a")._replace(versions=(2,)),
            "it speaks versions 2 of the link, this host 1: upgrade the older proxy",
        ),
        (opening("a", OTHER_PAIRING), f"its pairing is {OTHER_PAIRING}, expected {PAIRING}"),
        (opening("a", None), f"its pairing is none, expected {PAIRING}"),
        (opening("a")._replace(cluster="test"), "its cluster is test, expected default"),
        (opening("a")._replace(name="web2"), "its name is web2, expected web1"),
        (
            opening("a")._replace(configuration="0" * 64),
            "its NICs, their MAC addresses or its policies differ from this host's: compare both files",
        ),
    ],
)
def test_another_version_pairing_or_configuration(
    authority: Authority, lines: Callable[[], str], mine: Opening, line: str
) -> None:
    """Both hosts can say why: the one that is refused reads the line of the other."""
    with host(authority, "b") as b:
        with pytest.raises(Refused) as refused:
            refuses(b, client(authority, "a"), mine)
        assert str(refused.value) == f"it refuses this host: {line}"
        assert lines() == line


def test_a_caller_refuses_whom_it_reaches(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """A server with another host's certificate, and one that speaks no TLS."""
    for context, line in (
        (_server(authority, "c"), "its certificate is not accepted: Hostname mismatch"),
        (None, "TLS 1.3 with it has failed: wrong version number"),
    ):
        caplog.clear()
        with socket.create_server((A, 0)) as listener, host(authority, "a", listener.getsockname()[1]) as a:
            accepted, _ = listener.accept()
            with accepted:
                if context is None:
                    accepted.sendall(b"220 mail.example.com ESMTP\r\n" + bytes(100))
                else:
                    with pytest.raises(OSError, match=r"alert|ALERT"):
                        context.wrap_socket(accepted, server_side=True).recv(1)
            accepted, _ = listener.accept()  # the next attempt: the first one has been logged
            accepted.close()
            assert a.told.empty()
        assert line in caplog.messages[0]


def _server(authority: Authority, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / f"{name}.crt", authority.folder / f"{name}.key")
    return context


@pytest.mark.parametrize("after", ["connect", "hello", "opening"])
def test_who_says_nothing_more_is_dropped(
    authority: Authority, lines: Callable[[], str], monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    monkeypatch.setattr(handshake, "SECONDS", 1.0)
    with host(authority, "b") as b:
        with Stranger(port(b), None if after != "opening" else client(authority, "a")) as stranger:
            if after == "hello":
                stranger.sock.sendall(bytes.fromhex("16 03 01 02 00 01"))  # the beginning of a ClientHello
            if after == "opening":
                stranger.sock.sendall(messages.encode(opening("a")))
            assert stranger.is_dropped()
        assert lines() == "it has not finished the opening within 1 s"


def test_who_trickles_is_dropped(
    authority: Authority, lines: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is of all of it, not of each byte."""
    monkeypatch.setattr(handshake, "SECONDS", 1.0)
    with host(authority, "b") as b:
        with Stranger(port(b), client(authority, "a")) as stranger:
            stranger.sock.sendall((4000).to_bytes(4))
            stranger.message()
            sent = 0
            while not select.select([stranger.sock], [], [], 0.02)[0]:
                stranger.sock.sendall(b" ")
                sent += 1
            assert 4 < sent < 4000
        assert lines() == "it has not finished the opening within 1 s"


def test_a_flood_disturbs_nothing(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """A thousand silent connections that stay: threads are bounded, and words cross meanwhile."""
    begun = time.monotonic()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with pair(authority) as (_, b, mine, its), ExitStack() as strangers:
        for number in range(1000):
            strangers.callback(_connect(port(b), B).close)
            if number % 100 == 0:
                send(mine, Mark(Kind.LOADED, number))
                assert receive(its) == [Mark(Kind.LOADED, number)]
            streams = [each for each in threading.enumerate() if each.name == "link-stream"]
            assert len(streams) <= 2 * HALF_OPEN + 2
        assert b.told.empty()
        strangers.close()
        join_streams(but=1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    refused = [line for line in caplog.messages if "is refused" in line]
    assert 1 <= len(refused) <= 1 + (time.monotonic() - begun) / 60, "one line, and then one a minute"


def test_the_other_host_gets_in_during_a_flood(authority: Authority) -> None:
    """Who is from its address is the last to be dropped for another."""
    with host(authority, "b") as b, ExitStack() as strangers:
        for _ in range(3 * HALF_OPEN):
            strangers.callback(_connect(port(b), B).close)
        stop = threading.Event()

        def flood() -> None:
            while not stop.is_set():
                _connect(port(b), B).close()

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            with host(authority, "a", port(b)) as a:
                send(b.opened(), Mark(Kind.LOADED, 1))
                assert receive(a.opened()) == [Mark(Kind.LOADED, 1)]
        finally:
            stop.set()
            thread.join()


def test_without_descriptors_a_connection_waits(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Who listens must not end, nor spin, where too many files are open."""
    context = client(authority, "a")
    with host(authority, "b") as b, socket.socket() as sock:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(each.name) for each in Path("/proc/self/fd").iterdir())
        spare = [socket.socket() for _ in range(highest)]  # so that no lower number is free
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(each.fileno() for each in spare) + 1, hard))
        try:
            sock.connect((A, port(b)))
            while not caplog.messages:
                select.select([], [], [], 0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for each in spare:
                each.close()
        assert "no connection can be accepted: Too many open files (1 so far)" in caplog.messages[0]
        with context.wrap_socket(sock, server_hostname="b") as tls:
            tls.sendall(messages.encode(opening("a")))
            assert tls.recv(4)


def _connect(to: int, source: str) -> socket.socket:
    return socket.create_connection((A, to), SECONDS, (source, 0))
