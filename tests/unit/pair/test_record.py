"""The record of the right: canonical bytes, and nothing else is a record."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colo_proxy.pair.record import MAX_BYTES, BadRecord, Record, decode, encode

PAIRING = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
NONCE = "6ba7b811-9dad-41d1-80b4-00c04fd430c8"
PAIR = Record(12, "pair", "a", PAIRING, NONCE)
BYTES = f'{{"g":12,"mode":"pair","owner":"a","pairing":"{PAIRING}","nonce":"{NONCE}"}}'.encode()


def test_the_bytes_are_canonical() -> None:
    assert encode(PAIR) == BYTES
    assert decode(BYTES) == PAIR


hosts = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", fullmatch=True)
uuids = st.uuids().map(str)
records = st.one_of(
    st.builds(Record, st.integers(1, 2**53 - 1), st.just("pair"), hosts, uuids, uuids),
    st.builds(Record, st.integers(1, 2**53 - 1), st.just("solo"), hosts, st.none() | uuids, uuids),
)


@given(records)
def test_what_is_written_is_read(record: Record) -> None:
    assert len(encode(record)) <= MAX_BYTES
    assert decode(encode(record)) == record


def changed(**what: object) -> bytes:
    return json.dumps(PAIR._asdict() | what, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"null", "not an object"),
        (b"[1]", "not an object"),
        (b'"g"', "not an object"),
        (b"{}", "not an object"),
        (b"[[1,2],[3,4]]", "not an object"),
        (b'[["g",1]]', "not an object"),
        (b"[" * 400, "no JSON"),
        (BYTES + b" ", "canonical"),
        (BYTES.replace(b":12", b": 12"), "canonical"),
        (BYTES.replace(b"12,", b"12.0,"), "`g`"),
        (BYTES.replace(b"12,", b"NaN,"), "no JSON"),
        (BYTES.replace(b"12,", b"1" * 400 + b","), "bytes"),
        (BYTES.replace(b'"g":12', b'"g":12,"g":12'), "not an object"),
        (BYTES.replace(b'"owner":"a"', b'"owner":"\\u0061"'), "canonical"),
        (BYTES[:-1], "no JSON"),
        (BYTES[:-1] + b',"x":1}', "not an object"),
        (changed(g=0), "`g`"),
        (changed(g=-1), "`g`"),
        (changed(g=True), "`g`"),
        (changed(g=2**53), "`g`"),
        (changed(g="12"), "`g`"),
        (changed(mode="both"), "`mode`"),
        (changed(mode=None), "`mode`"),
        (changed(mode=["solo"]), "`mode`"),
        (changed(owner=""), "`owner`"),
        (changed(owner="a" * 64), "`owner`"),
        (changed(owner="a/b"), "`owner`"),
        (changed(owner="a\n"), "`owner`"),
        (changed(owner={"a": 1}), "`owner`"),
        (changed(pairing=None), "`pairing`"),
        (changed(pairing=PAIRING.upper()), "`pairing`"),
        (changed(mode="solo", pairing=""), "`pairing`"),
        (changed(nonce=None), "`nonce`"),
        (changed(nonce=NONCE + "0"), "`nonce`"),
        (b" " * (MAX_BYTES + 1), "bytes"),
    ],
)
def test_anything_else_is_refused_in_words(data: bytes, why: str) -> None:
    with pytest.raises(BadRecord, match=why):
        decode(data)


@given(
    st.binary(max_size=MAX_BYTES)
    | st.integers(0, len(BYTES) - 1).flatmap(
        lambda at: st.binary(max_size=3).map(lambda spoilt: BYTES[:at] + spoilt + BYTES[at + 1 :])
    )
)
def test_spoilt_bytes_are_refused_or_are_a_record(data: bytes) -> None:
    try:
        record = decode(data)
    except BadRecord:
        return
    assert encode(record) == data


def test_what_is_no_record_is_not_written() -> None:
    with pytest.raises(BadRecord, match="owner"):
        encode(PAIR._replace(owner="é"))
