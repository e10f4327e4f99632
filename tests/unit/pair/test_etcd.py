"""The store as etcd: against three real members with TLS, and against servers that answer anything."""

import json
import shutil
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
from support.etcd import KEY, Cluster, needs_etcd, three_members
from support.etcd import certificates as make_certificates

from colo_proxy.pair.etcd import Member
from colo_proxy.pair.record import Record, encode
from colo_proxy.pair.store import StoreError


def record(g: int, owner: str = "a") -> Record:
    return Record(g, "solo", owner, None, str(uuid4()))


# ---- servers that answer anything


@contextmanager
def serving(answer: bytes, status: int = 200) -> Iterator[Member]:
    """A member that gives this answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    member = Member(f"http://127.0.0.1:{server.server_port}", KEY)
    try:
        yield member
    finally:
        member.close()
        server.shutdown()
        thread.join()
        server.server_close()


def kv(value: bytes, key: str = KEY) -> dict[str, str]:
    return {"key": b64encode(key.encode()).decode(), "value": b64encode(value).decode()}


def said(**what: object) -> bytes:
    return json.dumps({"header": {"revision": "1"}} | what).encode()


HELD = record(3)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"header"',
        b"[" * 50_000,
        b"\xff",
        b" " * 100_000,
        said(kvs=None),
        said(kvs={}),
        said(kvs=[None]),
        said(kvs=[{}]),
        said(kvs=[kv(encode(HELD)), kv(encode(HELD))]),
        said(kvs=[kv(encode(HELD), KEY + "x")]),
        said(kvs=[kv(encode(HELD)) | {"value": "%"}]),
        said(kvs=[kv(encode(HELD)) | {"value": "é"}]),
        said(kvs=[kv(encode(HELD)) | {"value": 7}]),
        said(kvs=[kv(b"")]),
        said(kvs=[kv(encode(HELD) + b" ")]),
        json.dumps({"kvs": [kv(encode(HELD))]}).encode(),
    ],
    ids=lambda answer: repr(answer[:40]),
)
def test_a_read_whose_answer_is_no_record_is_no_answer(answer: bytes) -> None:
    with serving(answer) as member, pytest.raises(StoreError, match=r"127\.0\.0\.1"):
        member.read()


@pytest.mark.parametrize(
    "answer",
    [
        said(),
        said(succeeded=1),
        said(succeeded="true"),
        said(succeeded=False),
        said(succeeded=False, responses=[]),
        said(responses=[{"response_put": {}}]),
        said(responses=[{"response_range": None}]),
        said(responses=[{"response_range": {}}]),
        said(responses=[{"response_range": {"header": {}, "kvs": [kv(b"x")]}}]),
        json.dumps({"succeeded": True}).encode(),
    ],
)
def test_a_swap_whose_answer_says_nothing_is_no_answer(answer: bytes) -> None:
    with serving(answer) as member, pytest.raises(StoreError):
        member.swap(HELD, record(4))


@pytest.mark.parametrize("status", [204, 301, 307, 400, 403, 404, 500, 503])
def test_another_status_is_no_answer(status: int) -> None:
    with serving(said(succeeded=True), status) as member, pytest.raises(StoreError, match=str(status)):
        member.swap(HELD, record(4))


def test_nobody_listens() -> None:
    with serving(b"") as member:
        pass
    with pytest.raises(StoreError, match="refused"):
        member.read()


def test_what_is_refused_says_what_is_held() -> None:
    answer = said(responses=[{"response_range": {"header": {}, "kvs": [kv(encode(HELD))]}}])
    with serving(answer) as member:
        assert member.swap(record(2), record(3)) == HELD
    with serving(said(responses=[{"response_range": {"header": {}}}])) as member:
        assert member.swap(record(2), record(3)) is None


# ---- three real members


def until(ask: Callable[[], Record | None]) -> Record | None:
    """The answer, asked for again while there is none."""
    while True:
        try:
            return ask()
        except StoreError:
            continue


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with keys and certificates."""
    folder = tmp_path_factory.mktemp("etcd")
    make_certificates(folder)
    return folder


@pytest.fixture
def cluster(certificates: Path, tmp_path: Path) -> Iterator[Cluster]:
    """Three members that have elected a leader."""
    shutil.copytree(certificates, tmp_path, dirs_exist_ok=True)
    with ExitStack() as stack:
        made = three_members(tmp_path, stack)
        assert until(made.member(0).read) is None
        yield made


@needs_etcd
@pytest.mark.timeout(600)
def test_one_wins_whichever_member_is_asked(cluster: Cluster) -> None:
    members = [cluster.member(n) for n in range(3)]
    first = record(1)
    assert until(lambda: members[0].swap(None, first)) == first
    assert [until(member.read) for member in members] == [first] * 3
    assert members[1].swap(None, record(1, "b")) == first
    claims = [record(2, owner) for owner in ("a", "b", "c")]
    with ThreadPoolExecutor(3) as pool:
        after = list(pool.map(lambda n: until(lambda: members[n].swap(first, claims[n])), range(3)))
    assert after[0] in claims
    assert after == [after[0]] * 3
    assert until(members[0].read) == after[0]
    assert members[2].swap(first, claims[2]) == after[0], "who repeats a swap that was won sees its nonce"


@needs_etcd
@pytest.mark.timeout(600)
def test_a_member_dies_and_the_others_go_on_until_too_few_are_left(cluster: Cluster) -> None:
    members = [cluster.member(n) for n in range(3)]
    first, second = record(1), record(2)
    assert until(lambda: members[0].swap(None, first)) == first
    cluster.kill(0)
    with pytest.raises(StoreError):
        members[0].read()
    assert until(lambda: members[1].swap(first, second)) == second
    cluster.kill(2)
    with pytest.raises(StoreError):
        members[1].swap(second, record(3))


@needs_etcd
@pytest.mark.timeout(600)
def test_both_sides_know_each_other_by_their_certificates(cluster: Cluster, tmp_path: Path) -> None:
    assert until(cluster.member(0).read) is None
    with pytest.raises(StoreError):
        cluster.member(0, "stranger").read()
    shutil.copy(tmp_path / "stranger.crt", tmp_path / "ca.crt")
    with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
        cluster.member(0).read()
