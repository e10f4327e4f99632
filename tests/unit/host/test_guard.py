"""The nftables messages, byte by byte where it matters, and the errors that people see."""

import errno
import socket
import struct
from collections.abc import Callable

import pytest

from colo_proxy.errors import HostError
from colo_proxy.host import guard


def messages(batch: bytes) -> list[tuple[int, int, bytes]]:
    """(kind, flags, body) of each message; asserts that the lengths add up."""
    found = []
    while batch:
        length, kind, flags = struct.unpack_from("=IHH", batch)
        assert 20 <= length <= len(batch)
        assert length % 4 == 0
        found.append((kind, flags, batch[16:length]))
        batch = batch[length:]
    return found


def attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while data:
        length, kind = struct.unpack_from("=HH", data)
        assert 4 <= length <= len(data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


class Netlink:
    """Answers as a kernel would: one datagram, or error, after the other."""

    def __init__(self, *answers: bytes | BaseException) -> None:
        self.answers = list(answers)
        self.sent = b""
        self.closed = False

    def bind(self, address: object) -> None: ...
    def settimeout(self, seconds: float) -> None: ...
    def send(self, data: bytes) -> int:
        self.sent = data
        return len(data)

    def recv(self, size: int) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


def ack(code: int, sequence: int = 0) -> bytes:
    return struct.pack("=IHHIIi", 36, 2, 0, sequence, 0, code) + bytes(16)


Sent = Callable[[str], list[tuple[int, int, bytes]]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What a guard says to a kernel that agrees to everything."""

    def of(interface: str) -> list[tuple[int, int, bytes]]:
        netlink = Netlink(ack(0), ack(0))
        monkeypatch.setattr(socket, "socket", lambda *_: netlink)
        guard.Guard(interface).close()
        assert netlink.closed
        return messages(netlink.sent)

    return of


def test_the_ruleset_is_one_transaction_that_nobody_else_may_share(sent: Sent) -> None:
    begin, table, chain, end = sent("pvm0")
    assert (begin[0], end[0]) == (0x10, 0x11)
    assert begin[2] == end[2] == b"\0\0\0\x0a"  # family, version, NFNL_SUBSYS_NFTABLES
    for kind, flags, body in (table, chain):
        assert kind >> 8 == 10
        assert flags & 0x600 == 0x600  # create, and it must not exist
        assert body[0] == 5  # NFPROTO_NETDEV
    assert attributes(table[2][4:]) == {1: b"colo-proxy-pvm0\0", 2: b"\0\0\0\2"}  # NFT_TABLE_F_OWNER


def test_the_chain_drops_everything_first_of_all_on_this_interface(sent: Sent) -> None:
    chain = attributes(sent("an-interface-15")[2][2][4:])
    hook = attributes(chain.pop(4))
    assert chain == {1: b"colo-proxy-an-interface-15\0", 3: b"ingress\0", 5: bytes(4), 7: b"filter\0"}
    assert hook == {1: bytes(4), 2: b"\x80\0\0\0", 3: b"an-interface-15\0"}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([ack(-errno.EEXIST)], "another colo-proxy"),
        ([ack(-errno.EPERM, guard._NEWTABLE)], "another colo-proxy"),
        ([ack(-errno.EPERM)], "CAP_NET_ADMIN"),
        ([ack(-errno.EOPNOTSUPP)], r"Linux 5\.12"),
        ([ack(0), ack(-errno.ENODEV)], "disappeared"),
        ([ack(0), ack(-errno.ENOMEM)], "Cannot allocate memory"),
        ([b"short"], "Protocol error"),
        ([struct.pack("=IHHIIi", 36, 77, 0, 0, 0, 0)], "Protocol error"),
        ([TimeoutError()], "does not answer"),
    ],
)
def test_each_refusal_names_the_interface_and_a_remedy_and_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch, answers: list[bytes], said: str
) -> None:
    netlink = Netlink(*answers)
    monkeypatch.setattr(socket, "socket", lambda *_: netlink)
    with pytest.raises(HostError, match=said) as caught:
        guard.Guard("pvm0")
    assert str(caught.value).startswith("packet:pvm0: ")
    assert "\n" not in str(caught.value)
    assert netlink.closed


def test_a_kernel_without_nfnetlink_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(HostError, match="nf_tables"):
        guard.Guard("pvm0")
