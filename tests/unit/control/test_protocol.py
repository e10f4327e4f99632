"""The control socket's messages: a hostile one is an error; the next line is read as if it had never been."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colo_proxy.control import protocol
from colo_proxy.control.protocol import ABSENT, MAX_LINE, CommandError, Request, RequestReader

GOOD = b'{"execute":"query-status","id":7}\n'
OK = Request("query-status", {}, 7)


def read(*chunks: bytes) -> list[Request | CommandError]:
    reader = RequestReader()
    return [item for chunk in chunks for item in reader.feed(chunk)]


def test_a_request() -> None:
    line = b'{"execute": "set-policy", "arguments": {"policies": []}, "id": "x"}\r\n'
    assert read(line) == [Request("set-policy", {"policies": []}, "x")]


def test_requests_in_any_pieces() -> None:
    assert read(*(bytes([byte]) for byte in GOOD * 3)) == [OK] * 3
    assert read(GOOD * 3) == [OK] * 3
    assert read(b"\n \r\n", GOOD) == [OK]
    assert read(GOOD[:-2]) == []


def test_an_object_needs_no_newline_as_qmp_tools_send_none() -> None:
    assert read(GOOD[:-1]) == [OK]
    assert read(GOOD[:-1] * 3) == [OK] * 3
    assert read(*(bytes([byte]) for byte in GOOD[:-1] * 3)) == [OK] * 3
    arguments: dict[str, Any] = {"x": [{}, '}{"\\"'], 'y\\"': {"z": "{{["}}
    tricky = {"execute": "a", "arguments": arguments}
    one = json.dumps(tricky).encode()
    for chunks in ([one], [one, one], [bytes([byte]) for byte in one * 2]):
        assert set(map(str, read(*chunks))) == {str(Request("a", arguments))}


def test_what_follows_a_broken_object_is_not_taken_for_a_request() -> None:
    """The cut may have been inside what the client meant to be a string."""
    [error, after] = read(b"{'execute': 'a', 'id': '}" + GOOD[:-1] + b"'}\n" + GOOD)
    assert isinstance(error, CommandError)
    assert error.class_ == "BadJson"
    assert after == OK
    [error, after] = read(b"junk" + GOOD + GOOD)
    assert isinstance(error, CommandError)
    assert after == OK


@pytest.mark.parametrize(
    ("line", "class_", "desc"),
    [
        (b"hello", "BadJson", "not JSON"),
        (b'{"execute":', "BadJson", "not JSON"),
        (b"\xff\xfe", "BadJson", "not JSON"),
        (b'{"execute":"a","id":NaN}', "BadJson", "NaN is not a JSON number"),
        (b'{"execute":"a","id":-Infinity}', "BadJson", "not a JSON number"),
        (b"[" * 60_000, "BadJson", "nested too deep"),
        (b'{"id":' + b"9" * 50_000 + b"}", "BadJson", "not JSON"),
        (b"[]", "BadRequest", "a request is a JSON object"),
        (b"7", "BadRequest", "a request is a JSON object"),
        (b"null", "BadRequest", "a request is a JSON object"),
        (b"{}", "BadRequest", "'execute' is missing"),
        (b'{"execute":5}', "BadRequest", "'execute' is missing or is not a string"),
        (b'{"execute":"a","bogus":1}', "BadRequest", "unknown key 'bogus'"),
        (b'{"execute":"a","id":' + b"[" * 65 + b"]" * 65 + b"}", "BadRequest", "nested too deep"),
        (b'{"execute":"a","id":' + b'{"a":' * 65 + b"1" + b"}" * 66, "BadRequest", "nested too deep"),
        (b'{"execute":"a","id":[1e999]}', "BadJson", "1e999 is not a JSON number"),
        (b'{"execute":"a","arguments":[]}', "BadArguments", "must be a JSON object"),
    ],
)
def test_a_bad_line_is_one_error_and_harms_nothing(line: bytes, class_: str, desc: str) -> None:
    error, after = read(line + b"\n" + GOOD)
    assert isinstance(error, CommandError)
    assert error.class_ == class_
    assert desc in error.desc
    assert after == OK


def test_an_error_carries_the_id_where_there_was_one() -> None:
    [error] = read(b'{"execute":5,"id":"mine"}\n')
    assert isinstance(error, CommandError)
    assert json.loads(protocol.failure(error))["id"] == "mine"
    [error] = read(b"junk\n")
    assert isinstance(error, CommandError)
    assert "id" not in json.loads(protocol.failure(error))


@pytest.mark.parametrize(
    "id_", [None, False, 0, "", -1.5, [], {}, {"a": [1, {"b": None}], "id": "\udcff"}, [*"\u2028{}\n"]]
)
def test_an_id_is_any_json_value_and_comes_back(
    id_: object,
) -> None:
    [request] = read(json.dumps({"execute": "a", "id": id_}).encode() + b"\n")
    assert isinstance(request, Request)
    assert json.loads(protocol.success(request, 1)) == {"return": 1, "id": id_}
    assert json.loads(protocol.failure(CommandError("C", "d"), request.id))["id"] == id_
    for wrong in ({"execute": 5}, {"execute": "a", "arguments": []}, {"execute": "a", "bogus": 1}):
        [error] = read(json.dumps({**wrong, "id": id_}).encode() + b"\n")
        assert isinstance(error, CommandError)
        assert json.loads(protocol.failure(error))["id"] == id_


def test_the_deepest_id() -> None:
    deepest = b"[" * 64 + b"]" * 64
    [request] = read(b'{"execute":"a","id":' + deepest + b"}\n")
    assert isinstance(request, Request)
    assert deepest in protocol.success(request, {})


def test_the_longest_line_and_one_byte_more() -> None:
    filler = MAX_LINE - len(b'{"execute":"a","id":""}')
    longest = b'{"execute":"a","id":"' + b"x" * filler + b'"}'
    [request] = read(longest + b"\n")
    assert isinstance(request, Request)
    for chunks in ([b" " + longest + b"\n", GOOD], [bytes([b]) for b in b" " + longest + b"\n" + GOOD]):
        error, after = read(*chunks)
        assert isinstance(error, CommandError)
        assert error.class_ == "LineTooLong"
        assert after == OK


def test_an_endless_line_is_one_error_and_bounded_memory() -> None:
    reader = RequestReader()
    found = [item for _ in range(100) for item in reader.feed(b"x" * 50_000)]
    assert len(found) == 1
    assert len(reader._buffer) == 0
    assert reader.feed(b"\n" + GOOD) == [OK]


def test_replies() -> None:
    greeting = json.loads(protocol.greeting("1.2.3.dev4", "web1"))
    assert list(greeting) == ["colo-proxy", "QMP"]
    assert greeting["colo-proxy"] == {"version": "1.2.3.dev4", "name": "web1"}
    assert greeting["QMP"] == {
        "version": {"qemu": {"major": 1, "minor": 2, "micro": 3}, "package": "colo-proxy 1.2.3.dev4"},
        "capabilities": [],
    }
    assert json.loads(protocol.success(OK, {"a": 1})) == {"return": {"a": 1}, "id": 7}
    assert json.loads(protocol.success(Request("x"), {})) == {"return": {}}
    null = Request("x", {}, None)
    assert json.loads(protocol.success(null, {})) == {"return": {}, "id": None}
    error = CommandError("C", "d")
    assert error.id is ABSENT
    assert json.loads(protocol.failure(error, 3)) == {"error": {"class": "C", "desc": "d"}, "id": 3}
    assert json.loads(protocol.event("E", {"k": 1}, 5, 6)) == {
        "event": "E",
        "data": {"k": 1},
        "timestamp": {"seconds": 5, "microseconds": 6},
    }


PIECES = st.binary(max_size=200) | st.sampled_from(
    [b"{", b"}", b'"', b"\\", b"\n", b"\r\n", b" ", GOOD, GOOD[:-1], b"[]", b"{}"]
)


@given(st.lists(PIECES, max_size=20))
def test_any_bytes_in_any_pieces_give_the_same_and_one_answer_at_least_for_each_line(
    chunks: list[bytes],
) -> None:
    whole = b"".join(chunks)

    def shape(items: list[Request | CommandError]) -> list[object]:
        return [item if isinstance(item, Request) else str(item) for item in items]

    assert shape(read(*chunks)) == shape(read(whole)) == shape(read(*(bytes([byte]) for byte in whole)))
    answered = [line for line in whole.split(b"\n")[:-1] if line.strip()]
    assert len(read(whole)) >= len(answered)
    assert read(whole, b"\n", GOOD)[-1] == OK


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_json_is_answered_on_one_line(value: object) -> None:
    for item in read(json.dumps(value).encode() + b"\n"):
        reply = protocol.failure(item) if isinstance(item, CommandError) else protocol.success(item, {})
        assert reply.count(b"\n") == 1
        assert reply.endswith(b"}\r\n")
        json.loads(reply)
