"""While observing, the SVM hears clients at its own pace: it is never told of what it has not said.

And always, an acknowledgement that it missed reaches it when it repeats what was acknowledged (T15).
"""

from collections.abc import Callable
from typing import Any

import pytest
from frames import ip4, ip6, link, with_right_checksum
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Divergence, Frame, Mode, Port

P, S, C = 1000, 70_000, 500  # initial sequence numbers
STAMPS = {"p": 5000, "s": 90_000, "c": 40}


class Talk:
    """PVM, SVM and a client on one connection; positions count from each one's SYN."""

    def __init__(self, header: Callable[..., Packet] = ip4, *, observe: bool = True) -> None:
        self.core = Comparator(observe=observe, passthrough=observe, mode=Mode.COMPARE)
        self.header = header
        self.now = 0

    def _frame(self, who: str, flags: str, seq: int, ack: int, data: bytes) -> bytes:
        client = who == "c"
        ports: dict[str, Any] = {"sport": 40000, "dport": 80} if client else {"sport": 80, "dport": 40000}
        stamps = ("Timestamp", (STAMPS[who], STAMPS["p"] if client else STAMPS["c"]))
        tcp = TCP(**ports, flags=flags, seq=seq, ack=ack, window=777 if client else 5, options=[stamps])
        return bytes(link(to_vm=client) / self.header(to_vm=client) / tcp / Raw(data))

    def client(self, ack: int, data: bytes = b"", seq: int = 1) -> list[TCP]:
        """The client says something; what goes to the SVM."""
        self.now += 1000
        self.core.uplink(self._frame("c", "A", C + seq, P + ack, data), self.now)
        return self.told()

    def guest(self, who: str, seq: int, data: bytes = b"", flags: str = "A") -> list[TCP]:
        """A guest says something; what goes to the SVM."""
        self.now += 1000
        say = self.core.primary if who == "p" else self.core.secondary
        say(self._frame(who, flags, (P if who == "p" else S) + seq, C + 1, data), self.now)
        return self.told()

    def told(self) -> list[TCP]:
        out = self.core.take()
        assert not [each for each in out if isinstance(each, Divergence)]
        frames = [each.data for each in out if isinstance(each, Frame) and each.port == Port.SECONDARY]
        for frame in frames:
            assert frame == with_right_checksum(frame)
        return [Ether(frame)[TCP] for frame in frames]

    def open(self) -> None:
        for who in "ps":
            self.guest(who, 0, flags="SA")


@pytest.mark.parametrize("header", [ip4, ip6])
def test_what_comes_before_the_svms_syn_waits_for_it(header: Callable[..., Packet]) -> None:
    talk = Talk(header)
    talk.guest("p", 0, flags="SA")
    assert talk.client(1) == []
    assert talk.client(1, b"GET") == []
    first, request, *_ = talk.guest("s", 0, flags="SA")
    assert (first.ack, bytes(first.payload)) == (S + 1, b"")
    assert (request.ack, bytes(request.payload)) == (S + 1, b"GET")


def test_an_acknowledgement_goes_no_further_than_the_svm_has_said() -> None:
    talk = Talk()
    talk.open()
    talk.guest("p", 1, bytes(3000))
    (copy,) = talk.client(3001, b"more")
    assert (copy.ack, bytes(copy.payload)) == (S + 1, b"more")


@pytest.mark.parametrize("header", [ip4, ip6])
def test_the_rest_is_told_as_the_svm_says_more(header: Callable[..., Packet]) -> None:
    talk = Talk(header)
    talk.open()
    talk.guest("p", 1, bytes(3000))
    talk.client(3001)
    (answer,) = talk.guest("s", 1, bytes(1000))
    assert (answer.sport, answer.dport, answer.flags) == (40000, 80, "A")
    assert (answer.seq, answer.ack, answer.window) == (C + 1, S + 1001, 777)
    assert dict(answer.options)["Timestamp"] == (STAMPS["c"], STAMPS["s"])
    (answer,) = talk.guest("s", 1001, bytes(2000))
    assert answer.ack == S + 3001
    (answer,) = talk.guest("s", 2001, bytes(1000))  # said again: it has not heard
    assert answer.ack == S + 3001


def test_an_svm_that_is_ahead_hears_clients_alone() -> None:
    talk = Talk()
    talk.open()
    assert talk.guest("s", 1, bytes(3000)) == []
    talk.guest("p", 1, bytes(3000))
    (copy,) = talk.client(3001)
    assert copy.ack == S + 3001


def test_what_waits_is_bounded_and_given_up() -> None:
    talk = Talk()
    talk.guest("p", 0, flags="SA")
    for seq in range(1, 400):
        talk.client(1, b"x", seq)
    assert len(talk.guest("s", 0, flags="SA")) == 256 + 1
    talk = Talk()
    talk.guest("p", 0, flags="SA")
    talk.client(1, b"old")
    talk.now += 4_000_000_000
    talk.client(1, b"new", 4)
    assert [bytes(each.payload) for each in talk.guest("s", 0, flags="SA")][:1] == [b"new"]


def test_at_the_bound_it_goes_on_as_after_a_checkpoint() -> None:
    """The SVM lags by more than there is room for: what it says of that is not looked at, what follows is."""
    core = Comparator(
        observe=True, passthrough=True, mode=Mode.COMPARE, max_flow_bytes=200_000, max_held_bytes=1 << 20
    )
    talk = Talk()
    talk.core = core
    talk.open()
    for at in range(300):
        talk.guest("p", 1 + 1000 * at, bytes(1000))
    assert core.counters["held_bytes"] < 200_000
    for at in range(300):
        talk.guest("s", 1 + 1000 * at, bytes(1000))
    talk.guest("p", 300_001, b"last")
    talk.guest("s", 300_001, b"last")
    assert core.counters["held_frames"] == 0


def compared(header: Callable[..., Packet] = ip4) -> Talk:
    """A connection on which both guests have sent 3000 bytes, of which the client has acknowledged 2000."""
    talk = Talk(header, observe=False)
    talk.open()
    for who in "ps":
        assert talk.guest(who, 1, bytes(3000)) == []
    assert [copy.ack for copy in talk.client(2001)] == [S + 2001]
    return talk


@pytest.mark.parametrize("header", [ip4, ip6])
def test_an_acknowledgement_that_was_lost_is_repeated(header: Callable[..., Packet]) -> None:
    talk = compared(header)
    (answer,) = talk.guest("s", 1, bytes(1000))
    assert (answer.sport, answer.dport, answer.flags) == (40000, 80, "A")
    assert (answer.seq, answer.ack, answer.window) == (C + 1, S + 2001, 777)
    assert dict(answer.options)["Timestamp"] == (STAMPS["c"], STAMPS["s"])
    (answer,) = talk.guest("s", 1001, bytes(2000))  # of which the last 1000 may still have to be repeated
    assert answer.ack == S + 2001


def test_what_clients_have_not_acknowledged_is_not_answered() -> None:
    talk = compared()
    assert talk.guest("s", 2001, bytes(1000)) == []
    assert talk.guest("s", 3001, bytes(1000)) == []
    assert talk.guest("s", 2001) == []  # pure acknowledgements never are
    assert talk.guest("s", 1) == []


def test_a_client_that_acknowledges_too_much_is_not_believed() -> None:
    """RFC 9293, 3.10.7.4: what was never sent cannot have been received."""
    talk = compared()
    talk.client(9001)
    (answer,) = talk.guest("s", 1, bytes(3000))
    assert answer.ack == S + 2001
    talk.client(1501)  # an old one, overtaken
    (answer,) = talk.guest("s", 1, bytes(3000))
    assert answer.ack == S + 2001


def test_the_handshake_and_the_fin_are_answered_too() -> None:
    talk = Talk(observe=False)
    talk.open()
    talk.client(1)
    (answer,) = talk.guest("s", 0, flags="SA")
    assert (answer.seq, answer.ack, answer.flags) == (C + 1, S + 1, "A")
    for who in "ps":
        talk.guest(who, 1, flags="FA")
    talk.client(2)
    (answer,) = talk.guest("s", 1, flags="FA")
    assert (answer.seq, answer.ack) == (C + 1, S + 2)


def test_a_reset_is_not_answered() -> None:
    talk = compared()
    assert talk.guest("s", 1, flags="RA") == []


def test_nothing_is_made_for_an_svm_that_is_stopped() -> None:
    talk = compared()
    talk.core.svm_stop(talk.now)
    assert talk.guest("s", 1, bytes(1000)) == []
