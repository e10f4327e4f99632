"""Two hosts on loopback, with real sockets and certificates: how streams open, end and come back."""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from unit.link.hosts import (
    OTHER_PAIRING,
    PAIRING,
    SECONDS,
    Authority,
    Stranger,
    client,
    files,
    host,
    join_streams,
    opening,
    pair,
    port,
    receive,
    send,
    wait,
)

from colo_proxy.errors import HostError
from colo_proxy.link.channel import Channel
from colo_proxy.link.link import Opened
from colo_proxy.link.tls import load
from colo_proxy.link.wire import header
from colo_proxy.link.words import Dropped, Frame, Heartbeat, Kind, Mark, Notice, Source, Word, decode, encode

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
def test_words_and_frames_cross_both_ways(authority: Authority, secure: bool) -> None:
    with pair(authority if secure else None) as (_, _, a, b):
        assert a.send_frame(0, Source.CLIENT, bytes(60_000), bytes(10))
        send(a, Mark(Kind.LOADED, 7))
        send(b, Heartbeat(1, 5), Notice(Kind.VM_GONE, "killed"))
        assert receive(b, 2) == [Frame(0, Source.CLIENT, bytes(60_000), bytes(10)), Mark(Kind.LOADED, 7)]
        assert receive(a, 2) == [Heartbeat(1, 5), Notice(Kind.VM_GONE, "killed")]
        assert a.heard > 0


def test_each_knows_what_the_other_has_said_of_itself(authority: Authority) -> None:
    mine = opening("a")._replace(g=9, versions=(1, 2))
    with host(authority, "b") as b, host(authority, "a", port(b), begin=mine) as a:
        told = b.next(Opened)
        assert isinstance(told, Opened)
        assert (told.theirs, told.version) == (mine, 1)
        assert a.opened().ended is False


def test_a_closed_stream_says_why_and_a_new_one_opens(authority: Authority) -> None:
    with host(authority, "a", (spare := _free_port())) as a:
        with host(authority, "b", spare) as b:
            mine, _ = a.opened(), b.opened()
        assert receive(mine) == [Notice(Kind.CLOSE, "the proxy ends")]
        assert a.ended() == "the other host has closed the stream"
        assert b.ended() == "the proxy ends"
        with host(authority, "b", spare) as b:
            send(b.opened(), Mark(Kind.LOADED, 1))
            assert receive(a.opened()) == [Mark(Kind.LOADED, 1)]


def test_what_is_queued_is_sent_before_the_close(authority: Authority) -> None:
    with pair(authority) as (a, _, mine, its):
        for _ in range(100):
            assert mine.send_frame(0, Source.CLIENT, bytes(60_000))
        mine.flush()
        a.link.begin(opening("a", OTHER_PAIRING))
        assert receive(its, 101)[-1] == Notice(Kind.CLOSE, "this host has begun another pairing")


def test_another_pairing_needs_another_stream(authority: Authority) -> None:
    with pair(authority) as (a, b, *_):
        a.link.begin(opening("a", OTHER_PAIRING))
        b.link.begin(opening("b", OTHER_PAIRING))
        assert a.ended() == "this host has begun another pairing"
        b.ended()
        send(a.opened(), Mark(Kind.STOPPED, 1))
        assert receive(b.opened()) == [Mark(Kind.STOPPED, 1)]


def test_another_generation_does_not(authority: Authority) -> None:
    with pair(authority) as (a, b, mine, its):
        a.link.begin(opening("a")._replace(g=8))
        send(mine, Mark(Kind.STOPPED, 1))
        assert receive(its) == [Mark(Kind.STOPPED, 1)]
        assert b.told.empty()


def test_a_cut_is_never_undone(authority: Authority) -> None:
    with pair(authority) as (a, b, mine, _):
        a.link.cut()
        assert mine.ended
        assert a.ended() == "this host has cut the stream"
        assert "lost" in (why := b.ended()) or "cut off" in why
        with pytest.raises(ValueError, match="cut for good"):
            a.link.begin(opening("a"))
        a.link.begin(opening("a", OTHER_PAIRING))
        b.link.begin(opening("b", OTHER_PAIRING))
        a.opened()
        b.opened()


def test_the_other_host_comes_back_before_its_end_was_noticed(authority: Authority) -> None:
    """Its host has died and booted: this end knows nothing of that when it calls again."""
    with host(authority, "b") as b, Stranger(port(b), client(authority, "a")) as former:
        former.greet(opening("a"))
        b.opened()
        with host(authority, "a", port(b)) as a:
            assert b.ended() == "the other host has opened another stream"
            send(b.opened(), Mark(Kind.LOADED, 1))
            assert receive(a.opened()) == [Mark(Kind.LOADED, 1)]
        assert former.is_dropped()


def test_certificates_are_renewed_without_losing_the_stream(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = Authority(tmp_path, "own")
    mine.issue("b")
    mine.path.write_text(mine.path.read_text() + authority.path.read_text())
    for name in ("a", "b"):
        for suffix in ("crt", "key"):
            (tmp_path / f"used-{name}.{suffix}").write_bytes(
                (authority.folder / f"{name}.{suffix}").read_bytes()
            )
    used = Authority.__new__(Authority)
    used.folder, used.path = tmp_path, mine.path
    with host(used, "b", file="used-b") as b, host(used, "a", port(b), file="used-a") as a:
        its, our = b.opened(), a.opened()
        for suffix in ("crt", "key"):
            (tmp_path / f"used-b.{suffix}").write_bytes((tmp_path / f"b.{suffix}").read_bytes())
        b.link.renew()
        send(our, Mark(Kind.LOADED, 1))
        assert receive(its) == [Mark(Kind.LOADED, 1)]
        with Stranger(port(b), client(authority, "a", trusting=mine)) as stranger:
            shown = stranger.sock.getpeercert()  # type: ignore[attr-defined]
            assert shown["issuer"] == ((("commonName", "own"),),)
        (tmp_path / "used-b.crt").write_text("no certificate")
        with pytest.raises(HostError, match=r"not a certificate and its key"):
            b.link.renew()
        send(our, Mark(Kind.LOADED, 2))
        assert receive(its) == [Mark(Kind.LOADED, 2)]


def test_cut_off_in_the_middle_of_a_record(authority: Authority) -> None:
    with host(authority, "b") as b, Stranger(port(b), client(authority, "a")) as stranger:
        stranger.greet(opening("a"))
        channel = b.opened()
        kind, flags, nic, body = encode(Mark(Kind.LOADED, 1))
        stranger.sock.sendall(header(kind, flags, nic, 8) + body + header(kind, flags, nic, 8) + body[:4])
        assert receive(channel) == [Mark(Kind.LOADED, 1)]
        stranger.sock.close()
        assert b.ended() == "the stream has been cut off"
        assert channel.receive() is None, "the half that has come is no record"


def test_what_is_no_record_ends_the_stream_in_a_line(authority: Authority) -> None:
    with host(authority, "b") as b, Stranger(port(b), client(authority, "a")) as stranger:
        stranger.greet(opening("a"))
        channel = b.opened()
        stranger.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ValueError, match="unknown type"):
            receive(channel)
        line = b"it has sent a record of an unknown type"
        assert stranger.exactly(8 + len(line)) == header(Kind.CLOSE, 0, 0, len(line)) + line
        assert b.ended() == "it has sent a record of an unknown type"


def test_reading_goes_on_where_writing_is_blocked(authority: Authority) -> None:
    """The other host reads nothing and sends on; what is urgent passes all that waits for it."""
    with host(authority, "b") as b, Stranger(port(b), client(authority, "a")) as stranger:
        stranger.greet(opening("a"))
        channel = b.opened()
        frames = 0
        while channel.send_frame(0, Source.SVM, bytes(60_000)):
            frames += 1
            channel.flush()
        for number in range(1, 200):
            kind, flags, nic, body = encode(Heartbeat(number, number))
            stranger.sock.sendall(header(kind, flags, nic, 16) + body)
        assert receive(channel, 199)[-1] == Heartbeat(199, 199)
        send(channel, Heartbeat(1, 2), Mark(Kind.LOADED, 3))
        heard: list[Word] = []
        while not heard or heard[-1] != Mark(Kind.LOADED, 3):
            kind, flags, nic, *_ = head = stranger.exactly(8)
            heard.append(decode(kind, flags, 0, stranger.exactly(int.from_bytes(bytes(head[4:])))))
        before = heard.index(Heartbeat(1, 2))
        assert before < len(heard) - 100, "it has overtaken what was queued"
        assert sum(isinstance(word, Frame) for word in heard) == frames
        assert isinstance(heard[-2], Dropped)


def test_a_stopped_host_is_served_when_it_goes_on(authority: Authority) -> None:
    """SIGSTOP: writing blocks, frames are dropped at the bound and told, the others keep their order."""
    with host(authority, "b") as b:
        code = "import sys; from unit.link.peer_process import main; main(sys.argv[1], int(sys.argv[2]))"
        peer = subprocess.Popen(
            [sys.executable, "-c", code, str(authority.folder), str(port(b))],
            env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert peer.stdin
        assert peer.stdout
        try:
            channel = b.opened()
            assert peer.stdout.readline() == "open\n"
            peer.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, peer.pid, os.WSTOPPED | os.WNOWAIT)
            sent = 0
            while channel.send_frame(sent % 100, Source.SVM, sent.to_bytes(4) + bytes(60_000)):
                sent += 1
                channel.flush()
            send(channel, Mark(Kind.LOADED, 9))
            peer.send_signal(signal.SIGCONT)
            lines = [peer.stdout.readline() for _ in range(3)]
            assert lines == [f"{sent} frames in order\n", "1 dropped\n", "loaded 9\n"]
            b.link.close()
            assert peer.wait(SECONDS) == 0
        finally:
            peer.kill()
            peer.wait()
            peer.stdin.close()
            peer.stdout.close()


def test_a_data_path_that_does_not_read_stops_the_other_host(authority: Authority) -> None:
    """Memory is bounded: what is not taken fills the ring and the kernel, and then the sender's lane."""
    with pair(authority) as (_, _, mine, its):
        frames = 0
        while mine.send_frame(0, Source.CLIENT, bytes(60_000)):
            frames += 1
            mine.flush()
        mine.flush()
        assert mine.counters["dropped_frames"] == 1
        assert receive(its, frames + 1)[-1] == Dropped(1, 60_000)


def test_threads_and_descriptors_are_given_back(authority: Authority) -> None:
    def used() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    join_streams()  # of the tests before
    before = used()
    for _ in range(5):
        with pair(authority):
            pass
    join_streams()
    assert used() == before


# ---- the files


def test_the_own_files_are_tried(authority: Authority, tmp_path: Path) -> None:
    assert load(files(authority, "a")).client.verify_mode
    authority.issue("a", file="late", days=-1)
    authority.issue("", file="nameless")
    authority.issue("a", file="server-only", more="extendedKeyUsage=serverAuth")
    other = Authority(tmp_path, "other")
    other.issue("a")
    for file, line in {
        "late": "certificate has expired",
        "c": "Hostname mismatch|hostname mismatch",
        "nameless": "ostname mismatch",
        "server-only": "unsuitable certificate purpose|unsupported certificate purpose",
        "missing": "No such file",
    }.items():
        with pytest.raises(HostError, match=line) as error:
            load(files(authority, "a", file=file))
        assert "\n" not in str(error.value)
    with pytest.raises(HostError, match="unable to get local issuer certificate"):
        load(files(other, "a")._replace(authority=str(authority.path)))
    with pytest.raises(HostError, match="not a certificate and its key"):
        load(files(authority, "a")._replace(key=str(authority.folder / "b.key")))
    with pytest.raises(HostError, match="holds no certificate"):
        load(files(authority, "a")._replace(authority=str(authority.folder / "a.key")))


def _free_port() -> int:
    with host(None, "b") as b:
        return port(b)


def test_a_caller_says_seldom_that_nobody_listens(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), host(authority, "a", _free_port()):
        while len(caplog.messages) < 3:
            select.select([], [], [], 0.01)
    assert [line.rsplit("(", 1)[1] for line in caplog.messages[:3]] == [
        "attempt 1)",
        "attempt 2)",
        "attempt 4)",
    ]
    assert "Connection refused" in caplog.messages[0]


def test_a_channel_is_usable_after_its_stream(authority: Authority) -> None:
    """The data path finds the end out in its own time."""
    with pair(authority) as (a, _, mine, its):
        send(mine, Mark(Kind.LOADED, 1))
        wait(its)
        a.link.cut()
        assert isinstance(mine, Channel)
        assert mine.send_word(*encode(Mark(Kind.LOADED, 2)))
        mine.flush()
        assert receive(its) == [Mark(Kind.LOADED, 1)]
        assert mine.receive() is None


def test_pairings_are_uuids() -> None:
    assert PAIRING != OTHER_PAIRING
