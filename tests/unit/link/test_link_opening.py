"""The opening: who is accepted, and in which line the others are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colo_proxy.link import opening
from colo_proxy.link.opening import Opening, Refused, accepted, decode, digest, encode, judge

PAIRING = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
A = Opening("default", "web1", "a", PAIRING, 12, digest([["52:54:00:00:00:02"]], []))
B = A._replace(host="b")


def message(data: bytes) -> bytes:
    """Without its length, which is right."""
    assert opening.size(data[:4]) == len(data) - 4
    return data[4:]


def test_an_opening_comes_back() -> None:
    for each in (A, B._replace(pairing=None, g=0, versions=(1, 2, 7))):
        assert decode(message(encode(each))) == each


def test_both_accept_each_other() -> None:
    assert judge(A, B, "b") == judge(B, A, "a") == 1
    accepted(message(opening.accept(1)), 1)


def test_the_generation_is_told_and_not_judged() -> None:
    assert judge(A, B._replace(g=3), "b") == 1


def test_a_newer_proxy_speaks_the_older_version() -> None:
    newer = B._replace(versions=(1, 2, 3))
    assert judge(A, newer, "b") == judge(newer, A, "a") == 1
    assert judge(A._replace(versions=(2, 1)), newer, "b") == 2
    said = json.loads(message(encode(newer)))
    said["something-new"] = {"of": ["version", 3]}
    assert decode(json.dumps(said).encode()) == newer


@pytest.mark.parametrize(
    ("theirs", "line"),
    [
        (
            B._replace(versions=(2, 3)),
            "it speaks versions 2, 3 of the link, this host 1: upgrade the older proxy",
        ),
        (B._replace(host="c"), "its host is c, expected b"),
        (B._replace(cluster="test"), "its cluster is test, expected default"),
        (B._replace(name="web2"), "its name is web2, expected web1"),
        (B._replace(pairing=None), f"its pairing is none, expected {PAIRING}"),
        (
            B._replace(configuration="0" * 64),
            "its NICs, their MAC addresses or its policies differ from this host's: compare both files",
        ),
    ],
)
def test_another_is_refused_in_a_line(theirs: Opening, line: str) -> None:
    with pytest.raises(Refused) as error:
        judge(A, decode(message(encode(theirs))), "b")
    assert str(error.value) == line


def test_the_newer_of_two_says_who_is_to_be_upgraded() -> None:
    with pytest.raises(Refused, match=r"^this host speaks versions 2 of the link, it 1: upgrade"):
        judge(A._replace(versions=(2,)), B, "b")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("colo-proxy-link", None),
        ("colo-proxy-link", []),
        ("colo-proxy-link", [0]),
        ("colo-proxy-link", [True]),
        ("colo-proxy-link", list(range(1, 18))),
        ("cluster", ""),
        ("cluster", "a b"),
        ("name", "\x1b[2J"),
        ("name", 7),
        ("host", "x" * 65),
        ("pairing", "none"),
        ("pairing", PAIRING.upper()),
        ("g", -1),
        ("g", 1.5),
        ("g", True),
        ("g", 2**53),
        ("configuration", "0" * 63),
    ],
)
def test_an_opening_with_a_wrong_value_is_refused(key: str, value: object) -> None:
    said = json.loads(message(encode(A)))
    with pytest.raises(Refused) as error:
        decode(json.dumps(said | {key: value}).encode())
    assert str(error.value).isprintable()
    del said[key]
    if key != "pairing":
        with pytest.raises(Refused):
            decode(json.dumps(said).encode())


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_garbage_is_refused(data: bytes) -> None:
    for read in (decode, lambda data: accepted(data, 1)):
        with pytest.raises(Refused) as error:
            read(data)
        assert str(error.value).isprintable()


def test_deep_json_is_refused() -> None:
    with pytest.raises(Refused, match="not the link of a colo-proxy"):
        decode(b"[" * opening.MOST)


@pytest.mark.parametrize("prefix", [b"GET ", bytes(4), (4097).to_bytes(4), b"\xff" * 4])
def test_what_is_no_opening_is_refused_by_its_first_bytes(prefix: bytes) -> None:
    with pytest.raises(Refused, match="not the link of a colo-proxy"):
        opening.size(prefix)


def test_a_refusal_is_told_in_printable_words() -> None:
    with pytest.raises(Refused, match=r"^it refuses this host: no\?\[2J\?x{193}$"):
        accepted(message(opening.refuse("no\x1b[2J\n" + "x" * 500)), 1)


@pytest.mark.parametrize("verdict", [b'{"accept":2}', b'{"accept":true}', b'{"refuse":"\\u001b[2J"}', b"{}"])
def test_a_verdict_that_is_none_is_refused(verdict: bytes) -> None:
    with pytest.raises(Refused, match="no verdict"):
        accepted(verdict, 1)


def test_the_digest_is_of_what_must_be_alike() -> None:
    macs = [["52:54:00:00:00:02"], ["52:54:00:00:00:03"]]
    rule = {"match": {"protocol": "udp", "port": 123}, "action": "bypass"}
    same = {"action": "bypass", "match": {"port": 123, "protocol": "udp"}}
    assert digest(macs, [rule]) == digest(macs, [same])
    assert (
        len({digest(macs, [rule]), digest(macs[::-1], [rule]), digest(macs, []), digest(macs[:1], [rule])})
        == 4
    )
