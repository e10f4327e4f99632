"""Records and what they say: round trips, and refusal of everything else."""

import ipaddress
import re
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.documents import rows

from colo_proxy.link.wire import BadRecord, header, rules
from colo_proxy.link.words import (
    MARKS,
    RIGHTS,
    Address,
    CheckpointWanted,
    Claim,
    DatagramsSent,
    Dropped,
    Flow,
    Frame,
    Heartbeat,
    Kind,
    Mark,
    Notice,
    Offset,
    Policies,
    Right,
    Source,
    SynAckSent,
    Word,
    decode,
    encode,
)

PAGE = Path(__file__).parents[3] / "docs" / "link.md"
nics = st.integers(0, 65535)
u16, u32, u64 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=200)
flows = st.one_of(
    [
        st.builds(Flow, st.integers(0, 255), u32, addresses, u16, addresses, u16)
        for addresses in (st.ip_addresses(v=4), st.ip_addresses(v=6))
    ]
)
words: st.SearchStrategy[Word] = st.one_of(
    st.builds(
        Frame,
        nics,
        st.sampled_from(Source),
        st.binary(min_size=14, max_size=200),
        st.none() | st.binary(min_size=10, max_size=10),
    ),
    st.builds(Dropped, u64, u64),
    st.builds(Heartbeat, st.integers(1, 2**64 - 1), u64, st.booleans()),
    st.builds(Mark, st.sampled_from(MARKS), u64),
    st.builds(CheckpointWanted, u64, texts),
    st.builds(Notice, st.sampled_from([Kind.CLOSE, Kind.VM_GONE]), texts, st.just(0)),
    st.builds(Notice, st.just(Kind.PORT_FAULT), texts, nics),
    st.builds(DatagramsSent, nics, st.lists(u64, min_size=1, max_size=50).map(tuple)),
    st.builds(SynAckSent, nics, flows),
    st.builds(Address, nics, st.sampled_from(Claim), st.ip_addresses(), st.binary(min_size=6, max_size=6)),
    st.builds(Offset, nics, flows, u32, u32, u16),
    st.builds(Policies, st.text(min_size=2, max_size=200)),
    st.builds(Right, st.sampled_from(RIGHTS), st.uuids()),
)


@given(words)
def test_a_word_comes_back(word: Word) -> None:
    assert decode(*encode(word)) == word


@given(st.sampled_from(Kind), st.integers(0, 255), nics, st.binary(max_size=300))
def test_what_is_read_is_what_would_be_sent(kind: Kind, flags: int, nic: int, body: bytes) -> None:
    """There is one way only to say something, so what is refused is all that is not exactly that."""
    try:
        word = decode(kind, flags, nic, body)
    except BadRecord as error:
        why = str(error)
        assert "\n" not in why
    else:
        assert encode(word) == (kind, flags, nic, body)


FLOW = Flow(6, 0xFFFFFFFF, ipaddress.ip_address("192.0.2.2"), 80, ipaddress.ip_address("198.51.100.7"), 4000)


@pytest.mark.parametrize(
    ("spoiled", "at", "to"),
    [
        (SynAckSent(0, FLOW), 0, 5),  # no version of IP
        (SynAckSent(0, FLOW), 2, 1),  # bytes without meaning
        (SynAckSent(0, FLOW), 27, 1),  # behind an IPv4 address
        (Offset(0, FLOW, 1, 2, 3), 55, 1),
        (Address(0, Claim.OWN, FLOW.address, b"\2\0\0\0\0\1"), 0, 3),
        (Notice(Kind.VM_GONE, "it is gone"), 2, 0x1B),  # an escape sequence for somebody's terminal
        (Heartbeat(1, 2), 7, 0),
        (Policies("[]"), 0, 0xFF),
    ],
)
def test_content_without_meaning_is_refused(spoiled: Word, at: int, to: int) -> None:
    kind, flags, nic, body = encode(spoiled)
    with pytest.raises(BadRecord, match=r"no meaning|zero"):
        decode(kind, flags, nic, body[:at] + bytes([to]) + body[at + 1 :])


@pytest.mark.parametrize(
    "word",
    [
        Frame(0, Source.CLIENT, bytes(13)),
        Frame(0, Source.PVM, bytes(69633)),
        Frame(0, Source.PVM, bytes(69633), bytes(10)),
        Frame(70000, Source.PVM, bytes(20)),
        Notice(Kind.CLOSE, ""),
        Notice(Kind.CLOSE, "x" * 201),
        Notice(Kind.CLOSE, "café"),
        Notice(Kind.VM_GONE, "of no NIC", 1),
        DatagramsSent(0, ()),
        Mark(Kind.LOADED, 2**64),
        SynAckSent(0, FLOW._replace(peer=ipaddress.ip_address("2001:db8::1"))),
    ],
    ids=str,
)
def test_what_does_not_fit_is_not_sent(word: Word) -> None:
    with pytest.raises(BadRecord):
        encode(word)


def test_the_longest_frames_fit() -> None:
    for vnet in (None, bytes(10)):
        word = Frame(1, Source.SVM, bytes(69632), vnet)
        assert decode(*encode(word)) == word


@pytest.mark.parametrize("flags", [3, 7, 8, 0x80])
def test_flags_of_a_frame(flags: int) -> None:
    with pytest.raises(BadRecord, match="unknown flags"):
        header(Kind.FRAME, flags, 0, 60)


def test_a_virtio_net_header_leaves_a_whole_ethernet_header() -> None:
    with pytest.raises(BadRecord, match="length"):
        header(Kind.FRAME, 4, 0, 23)
    assert header(Kind.FRAME, 4, 0, 24) == bytes.fromhex("01 04 0000 00000018")


def test_the_page_has_the_table() -> None:
    """Types, lanes and lengths of docs/link.md are those of the code."""
    table = rows(PAGE, "| record |")
    known = rules()
    assert [name.replace("-", "_").upper() for name in table] == [kind.name for kind in Kind]
    assert set(known) == {int(kind) for kind in Kind}
    for name, (number, lane, length, _) in table.items():
        kind = Kind[name.replace("-", "_").upper()]
        least, most, urgent, *_ = known[kind]
        assert (int(number, 16), lane) == (kind, "urgent" if urgent else "ordered"), name
        assert length == (f"{least} to {most}" if least != most else str(least)), name


def test_the_page_has_the_example_of_a_header() -> None:
    assert re.search(r"\| +type +\| +flags +\| +NIC +\| +length of the body +\|", PAGE.read_text())
    assert header(Kind.OFFSET, 0, 258, 56) == bytes([0x23, 0, 1, 2, 0, 0, 0, 56])


def test_the_words_of_the_right_to_speak_are_there() -> None:
    words = {"yield", "please-yield", "relinquish", "ask", "no-vm", "ask-init", "consent"}
    assert words | {"begin"} == {kind.name.lower().replace("_", "-") for kind in RIGHTS}
    assert decode(Kind.YIELD, 0, 0, bytes(range(16))) == Right(Kind.YIELD, UUID(bytes=bytes(range(16))))
