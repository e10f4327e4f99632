"""The processes around a store that may hang: asked, abandoned, replaced, never waited for."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from support.etcd import KEY, Cluster, certificates, needs_etcd, three_members

from colo_proxy.pair import arbiter as module
from colo_proxy.pair import asking, lines
from colo_proxy.pair.actions import Read, Swap
from colo_proxy.pair.arbiter import Arbiter
from colo_proxy.pair.asking import Call
from colo_proxy.pair.directory import Directory
from colo_proxy.pair.events import Answer, Unanswered
from colo_proxy.pair.record import Record
from colo_proxy.pair.store import DirectoryPlace, EtcdPlace, Place

HELD = Record(3, "solo", "a", None, str(uuid4()))
NOWHERE = DirectoryPlace("/nowhere")


def record(g: int, owner: str = "a") -> Record:
    return Record(g, "solo", owner, None, str(uuid4()))


class Asked:
    """An arbiter, and what it has told."""

    def __init__(self, places: list[Place], command: list[str] | None) -> None:
        self.told: asyncio.Queue[Answer | Unanswered] = asyncio.Queue()
        self.calls: list[Call] = []
        more = {"command": command} if command else {}
        self.arbiter = Arbiter(places, self.told.put_nowait, self.calls.append, **more)

    async def error(self, question: Read | Swap) -> str:
        """Why the first call has failed; the question stands on."""
        self.arbiter.ask(question)
        assert await self.told.get() == Unanswered(question.tag)
        while not self.calls:
            assert await self.told.get() == Unanswered(question.tag)
        return self.calls[0].error

    async def answer(self, question: Read | Swap) -> Record | None:
        """The record that decides, however often there is no answer before."""
        self.arbiter.ask(question)
        while True:
            event = await self.told.get()
            assert event.tag == question.tag
            if isinstance(event, Answer):
                return event.record


@asynccontextmanager
async def asked(*places: Place, code: str = "") -> AsyncIterator[Asked]:
    """With `code`, if there is any, as the process: it has `requests` and `say(number, **more)`."""
    command = [sys.executable, "-c", _FAKE + code] if code else None
    made = Asked(list(places), command)
    try:
        yield made
    finally:
        await made.arbiter.close()


_FAKE = f"""
import json, os, signal, sys
sys.stdin.readline()
requests = map(json.loads, sys.stdin)
held = {lines.answer(0, HELD).decode()!r}
def say(number, **more):
    print(json.dumps(json.loads(held) | {{"number": number}} | more), flush=True)
"""


async def test_a_directory_is_read_and_swapped(tmp_path: Path) -> None:
    async with asked(DirectoryPlace(str(tmp_path))) as it:
        assert await it.answer(Read("1")) is None
        first, second = record(1), record(2)
        assert await it.answer(Swap("2", None, first)) == first
        assert await it.answer(Swap("3", None, record(1, "b"))) == first
        assert await it.answer(Swap("4", first, second)) == second
        assert [call.error for call in it.calls] == [""] * 4
        assert all(call.seconds > 0 for call in it.calls)
    assert Directory(str(tmp_path)).read() == second


async def test_a_store_that_fails_is_asked_on(tmp_path: Path) -> None:
    async with asked(DirectoryPlace(str(tmp_path / "later"))) as it:
        assert "No such file or directory" in await it.error(Read("1"))
        (tmp_path / "later").mkdir()
        assert await it.answer(Read("1")) is None


async def test_an_answer_that_comes_late_and_twice_is_taken_once() -> None:
    code = "say(next(requests)['number']); r = next(requests)['number']; say(r); say(r); say(r + 1000)\n"
    code += "for r in requests: say(r['number'])"
    async with asked(NOWHERE, code=code) as it:
        for tag in "abc":
            assert await it.answer(Read(tag)) == HELD
        assert it.told.empty()


async def test_a_call_that_hangs_is_abandoned_and_the_next_process_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ABANDON_S", 3.0)
    code = f"""
if not os.path.exists({str(tmp_path / "hung")!r}):
    open({str(tmp_path / "hung")!r}, "w").close()
    signal.pause()
for r in requests: say(r["number"])
"""
    async with asked(NOWHERE, code=code) as it:
        assert "abandoned" in await it.error(Read("1"))
        assert await it.answer(Read("1")) == HELD
        assert (tmp_path / "hung").exists()


async def test_processes_that_cannot_die_are_not_heaped_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ABANDON_S", 0.05)
    monkeypatch.setattr(asking, "RESTART_S", 0.05)
    started: list[int] = []
    kill = subprocess.Popen.kill
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: started.append(process.pid))
    async with asked(NOWHERE, code="signal.pause()") as it:
        it.arbiter.ask(Read("1"))
        while not it.calls or len(started) < module.MOST_ABANDONED:
            await it.told.get()
        for _ in range(2):
            await it.told.get()
        endpoint = it.arbiter._processes[0]
        assert endpoint.running is None
        assert len(endpoint.alive()) == module.MOST_ABANDONED == len(started)
        for process in endpoint.alive():
            kill(process)


@pytest.mark.parametrize(
    "dies",
    [
        "sys.exit(1)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.close(1); signal.pause()",
        "print('nonsense', flush=True); signal.pause()",
        "print('[]', flush=True); signal.pause()",
        "print('{}', flush=True); signal.pause()",
        "say('x'); signal.pause()",
        "say(r['number'], record='no record'); signal.pause()",
        "say(r['number'], record=7); signal.pause()",
        "sys.stdout.write('x' * (2 << 20)); sys.stdout.flush(); signal.pause()",
    ],
)
async def test_a_process_that_ends_or_raves_is_replaced(
    dies: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "RESTART_S", 0.1)
    code = f"""
for r in requests:
    if not os.path.exists({str(tmp_path / "died")!r}):
        open({str(tmp_path / "died")!r}, "w").close()
        {dies}
    say(r["number"])
"""
    async with asked(NOWHERE, code=code) as it:
        assert "its process has" in await it.error(Read("1"))
        assert await it.answer(Read("1")) == HELD


async def test_an_endpoint_that_fails_does_not_hold_up_another(tmp_path: Path) -> None:
    dead = EtcdPlace("http://127.0.0.1:1", KEY)
    async with asked(dead, DirectoryPlace(str(tmp_path)), dead) as it:
        assert await it.answer(Read("1")) is None
        for call in it.calls:
            assert call.endpoint == 1 or "refused" in call.error


async def test_a_certificate_that_is_missing_is_an_error_of_each_call(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("a.crt", "a.key", "ca.crt")]
    async with asked(EtcdPlace("https://127.0.0.1:1", KEY, *files)) as it:
        assert "No such file" in await it.error(Read("1"))


async def test_a_program_that_cannot_be_started_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE_S", 0.05)
    made = Asked([NOWHERE], ["/nowhere/python"])
    made.arbiter.ask(Read("1"))
    assert await made.told.get() == Unanswered("1")
    await made.arbiter.close()


async def test_the_process_ends_with_the_proxy(tmp_path: Path) -> None:
    async with asked(DirectoryPlace(str(tmp_path))) as it:
        assert await it.answer(Read("1")) is None
        running = it.arbiter._processes[0].running
        assert running is not None
        assert running.stdin is not None
        assert os.getsid(running.pid) == running.pid, "Ctrl-C in the proxy's terminal is not for it"
        running.stdin.close()
        descriptor = os.pidfd_open(running.pid)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, ended.set)
        await ended.wait()
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


def test_a_line_fits_the_pipe_whole() -> None:
    longest = Record(2**53 - 1, "pair", "h" * 63, str(uuid4()), str(uuid4()))
    assert len(lines.request(10**9, Swap("t", longest, longest))) < 1000
    assert lines.read_request(lines.request(7, Swap("t", None, longest))) == (7, (None, longest))
    assert lines.read_request(lines.request(7, Read("t"))) == (7, None)
    assert lines.read_answer(lines.error(7, "\N{SNOWMAN}" * 10_000))[2] == "\N{SNOWMAN}" * 400
    assert lines.read_answer(lines.error(7, ""))[2]
    assert lines.read_answer(lines.answer(7, longest)) == (7, longest, "")
    assert json.loads(lines.answer(7, None)) == {"number": 7, "record": None}


# ---- real members of etcd


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three members."""
    certificates(tmp_path)
    with ExitStack() as stack:
        yield three_members(tmp_path, stack)


async def swapped(it: Asked, expect: Record | None, tag: str) -> Record:
    """A swap that is won."""
    new = record(expect.g + 1 if expect else 1)
    assert await it.answer(Swap(tag, expect, new)) == new
    return new


@needs_etcd
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", ["pause", "kill"])
@pytest.mark.parametrize("whom", ["leader", "follower"])
async def test_a_member_of_etcd_hangs_or_dies_and_a_claim_is_won(
    cluster: Cluster, fault: str, whom: str
) -> None:
    async with asked(*(cluster.place(n) for n in range(3))) as it:
        first = await swapped(it, None, "first")
        leader = cluster.leader()
        which = leader if whom == "leader" else (leader + 1) % 3
        act: Callable[[int], None] = getattr(cluster, fault)
        act(which)
        second = await swapped(it, first, "second")
        await swapped(it, second, "third")
        assert {call.endpoint for call in it.calls if not call.error} >= {n for n in range(3) if n != which}


@needs_etcd
@pytest.mark.timeout(600)
async def test_too_few_members_are_no_answer_until_one_is_back(cluster: Cluster) -> None:
    async with asked(*(cluster.place(n) for n in range(3))) as it:
        first = await swapped(it, None, "first")
        for n in (0, 1):
            cluster.pause(n)
        new = record(2)
        it.arbiter.ask(Swap("second", first, new))
        assert await it.told.get() == Unanswered("second")
        cluster.resume(1)
        assert await it.answer(Swap("second", first, new)) == new, "whichever of the repetitions was applied"


@needs_etcd
@pytest.mark.timeout(600)
async def test_renewed_certificates_are_used(cluster: Cluster, tmp_path: Path) -> None:
    async with asked(cluster.place(0)) as it:
        assert await it.answer(Read("1")) is None, "the members have read their files"
    shutil.copy(tmp_path / "ca.crt", tmp_path / "good.crt")
    shutil.copy(tmp_path / "stranger.crt", tmp_path / "ca.crt")
    async with asked(cluster.place(0)) as it:
        assert "CERTIFICATE_VERIFY_FAILED" in await it.error(Read("1"))
        shutil.copy(tmp_path / "good.crt", tmp_path / "ca.crt")
        assert await it.answer(Read("1")) is None
