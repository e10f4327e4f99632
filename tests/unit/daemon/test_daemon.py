"""The control plane as a whole, around a data path without packets."""

import asyncio
import os
import signal
import stat
import urllib.request
from pathlib import Path

import pytest
from fakes.engine import FakeEngine
from unit.proxy import running

from colo_proxy.control.client import Client
from colo_proxy.endpoints import Unix
from colo_proxy.engine.messages import PortFault
from colo_proxy.errors import ControlError, HostError, UserError
from colo_proxy.host.listening import listen
from colo_proxy.vocabulary import Divergence, Port, Reason, Word

FLOW = "tcp 192.0.2.2:80 > 192.0.2.1:40000"
PAYLOAD = Divergence(0, FLOW, "tcp", Reason.PAYLOAD, 4096, 0)
QUICK = "[checkpoint]\nmin_interval_ms = 0\n"


async def test_a_checkpoint_from_the_divergence_to_the_commit(tmp_path: Path) -> None:
    async with running(tmp_path, QUICK) as proxy:
        status = await proxy.execute("query-status")
        assert (status["state"], status["epoch"], status["reason"]) == ("requested", 0, "start")
        await proxy.execute("checkpoint-begin")
        assert [word for word, _ in proxy.engine.words] == [Word.SVM_STOP, Word.PVM_STOP]
        assert (await proxy.execute("query-status"))["state"] == "stopped"
        assert await proxy.execute("checkpoint-commit") == {"epoch": 1}
        assert (await proxy.execute("query-status"))["state"] == "protected"

        events = await proxy.events(
            "DIVERGENCE", "CHECKPOINT_REQUEST", "STATE_CHANGE", "CHECKPOINT_BEGIN", "CHECKPOINT_COMMIT"
        )
        proxy.engine.report(PAYLOAD)
        change = {"from": "protected", "to": "requested", "why": f"payload on {FLOW}"}
        assert await events.next() == {"event": "STATE_CHANGE", **change}
        assert await events.next() == {
            "event": "CHECKPOINT_REQUEST",
            "epoch": 1,
            "reason": "payload",
            "flow": FLOW,
            "stream_offset": 4096,
            "nic": 0,
            "attempt": 1,
        }
        assert (await events.next())["event"] == "DIVERGENCE"
        await proxy.execute("checkpoint-begin")
        assert (await events.next()) == {"event": "CHECKPOINT_BEGIN", "epoch": 1}
        assert (await events.next())["to"] == "stopped"
        await proxy.execute("checkpoint-commit")
        commit = await events.next()
        assert (commit["event"], commit["epoch"], commit["reason"]) == ("CHECKPOINT_COMMIT", 2, "payload")
        events.close()


async def test_the_replies_wait_for_the_data_path(tmp_path: Path) -> None:
    engine = FakeEngine(by_hand=True)
    async with running(tmp_path, QUICK, engine=engine) as proxy:
        begin = asyncio.create_task(proxy.execute("checkpoint-begin"))
        await until(lambda: engine.words == [(Word.SVM_STOP, 0)])
        await asyncio.sleep(0.05)
        assert engine.words == [(Word.SVM_STOP, 0)], "the PVM's stop follows when the SVM's has been done"
        engine.answer()
        await until(lambda: len(engine.words) == 2)
        assert not begin.done()
        engine.answer()
        await begin
        commit = asyncio.create_task(proxy.execute("checkpoint-commit"))
        await until(lambda: len(engine.words) == 3)
        assert (await proxy.execute("query-status"))["state"] == "stopped"
        engine.answer()
        assert await commit == {"epoch": 1}


async def test_a_divergence_right_behind_the_commit_is_of_the_new_epoch(tmp_path: Path) -> None:
    engine = FakeEngine(by_hand=True)
    async with running(tmp_path, QUICK, engine=engine) as proxy:
        begin = asyncio.create_task(proxy.execute("checkpoint-begin"))
        for count in (1, 2):
            await until(lambda count=count: len(engine.words) == count)
            engine.answer()
        await begin
        commit = asyncio.create_task(proxy.execute("checkpoint-commit"))
        await until(lambda: len(engine.words) == 3)
        engine.report(PAYLOAD, *engine._waiting, PAYLOAD)  # old epoch, Done, new epoch: one batch
        engine._waiting.clear()
        await commit
        status = await proxy.execute("query-status")
        assert (status["state"], status["reason"], status["epoch"]) == ("requested", "payload", 1)


async def test_a_late_stop_ends_in_an_abort(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.late = {Word.PVM_STOP}
    async with running(tmp_path, QUICK, engine=engine) as proxy:
        await proxy.execute("checkpoint-begin")
        await proxy.execute("checkpoint-commit")
        assert [word for word, _ in engine.words] == [Word.SVM_STOP, Word.PVM_STOP, Word.ABORT]
        status = await proxy.execute("query-status")
        assert (status["state"], status["reason"], status["epoch"]) == ("requested", "aborted", 0)


async def test_words_in_the_wrong_state_are_errors_and_reach_no_data_path(tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        for command in ("checkpoint-commit", "checkpoint-abort"):
            with pytest.raises(ControlError, match="not possible in state requested"):
                await proxy.execute(command)
        await proxy.execute("checkpoint-begin")
        with pytest.raises(ControlError, match="not possible in state stopped"):
            await proxy.execute("checkpoint-begin")
        assert len(proxy.engine.words) == 2


async def test_the_words_of_the_vmm_are_for_vmm_control_only(tmp_path: Path) -> None:
    async with running(tmp_path, '[checkpoint]\nvmm = "none"\n') as proxy:
        with pytest.raises(ControlError, match='this proxy has vmm = "none"'):
            await proxy.execute("checkpoint-begin")
        proxy.engine.report(PAYLOAD)
        await until(lambda: True)
        while (status := await proxy.execute("query-status"))["checkpoints"] == 0:
            await asyncio.sleep(0.01)
        assert status["state"] == "unprotected", "there is no replica"
        assert (await proxy.execute("query-stats"))["checkpoints"] == {
            "committed": 0,
            "aborted": 0,
            "assumed": 1,
        }
        assert proxy.engine.words == []


async def test_only_who_speaks_as_the_vmm_is_the_vmm(tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:

        async def connected() -> object:
            return (await proxy.execute("query-status"))["vmm_connected"]

        watching = await proxy.events("STATE_CHANGE")
        assert await connected() == {"control": False}, "`events`, `top` and `status` are no VMM"
        vmm = await asyncio.to_thread(Client, proxy.socket)
        assert await asyncio.to_thread(vmm.execute, "vmm-ready") == {"epoch": 0}
        assert await connected() == {"control": True}
        vmm.close()
        for _ in range(500):
            if await connected() == {"control": False}:
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("a VMM that has left is still connected")
        watching.close()


async def test_failover_and_replica_lost(tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        events = await proxy.events("FAILOVER")
        await proxy.execute("failover")
        assert await events.next() == {"event": "FAILOVER", "epoch": 0, "why": "operator"}
        assert proxy.engine.words == [(Word.FAILOVER, 0)]
        over = "is not possible in state failed-over: the SVM is the service$"
        await proxy.execute("failover")  # what is wanted is so already
        with pytest.raises(ControlError, match=f"^checkpoint: a checkpoint {over}"):
            await proxy.execute("checkpoint")
        events.close()
    async with running(tmp_path) as proxy:
        await proxy.execute("replica-lost")
        assert (await proxy.execute("query-status"))["state"] == "unprotected"
        with pytest.raises(ControlError, match="unprotected"):
            await proxy.execute("failover")


async def test_requests_repeat_and_the_alarm_comes_by_the_clock(tmp_path: Path) -> None:
    async with running(tmp_path, "[checkpoint]\nrepeat_ms = 20\nmax_hold_ms = 60\n") as proxy:
        events = await proxy.events("CHECKPOINT_REQUEST", "ALARM")
        seen = [await events.next() for _ in range(6)]
        requests = [event for event in seen if event["event"] == "CHECKPOINT_REQUEST"]
        assert [r["attempt"] for r in requests] == list(
            range(requests[0]["attempt"], requests[0]["attempt"] + len(requests))
        )
        assert (await proxy.execute("query-status"))["alarm"] is True
        assert proxy.engine.words == [], "an alarm releases nothing"
        events.close()


REST = "it releases, without a comparison, everything that no earlier rule matches"
EVERYTHING = f"{REST}: nothing is protected"


async def test_who_bypasses_everything_is_warned_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, '[[policy]]\naction = "bypass"\n'):
        assert f"policy 1: {EVERYTHING}" in caplog.text


async def test_flows_and_policies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = '[[policy]]\nmatch = { protocol = "udp", port = 123 }\naction = "bypass"\n'
    async with running(tmp_path, text) as proxy:
        [flow] = await proxy.execute("query-flows")
        assert (flow["flow"], flow["held_frames"], flow["blocked"]) == (FLOW, 2, True)
        before = await proxy.execute("query-policy")
        assert before == [{"match": {"protocol": "udp", "port": 123}, "action": "bypass", "frames": 0}]
        assert proxy.engine.rules == list(proxy.config.policies)
        for bad in (
            [before[0], {"match": {}, "action": "eat"}],
            [before[0], 7],
            [{"match": {"x": 1}, "action": "drop"}],
            [{"action": ["drop"]}],
            [{"action": {"a": 1}}],
            [{"action": None}, None],
            [{"match": {"port": None, "protocol": True, "vlan": [1]}, "action": "drop"}],
        ):
            with pytest.raises(ControlError, match="the rules were not changed"):
                await proxy.execute("set-policy", policies=bad)
        with pytest.raises(ControlError, match="at most 1000"):
            await proxy.execute("set-policy", policies=[{"action": "drop"}] * 1001)
        assert await proxy.execute("query-policy") == before
        new = [{"match": {"protocol": "tcp"}, "action": "compare", "frames": 0}]
        await proxy.execute("set-policy", policies=new)
        assert await proxy.execute("query-policy") == new
        assert len(proxy.engine.rules) == 1
        told = await proxy.execute("set-policy", policies=[*new, {"action": "bypass"}])
        assert told == {"warnings": [f"policy 2: {REST}"]}
        assert f"policy 2: {REST}" in caplog.text
        assert EVERYTHING not in caplog.text, "a rule above has flows compared"
        again = [{"match": {"port": 7}, "action": "drop"}, *new, {"action": "bypass"}]
        assert await proxy.execute("set-policy", policies=again) == {"warnings": []}, "known already"


async def test_what_rules_let_by_is_told_until_they_are_gone_and_a_commit_heals(tmp_path: Path) -> None:
    text = "".join(f'[[policy]]\naction = "{action}"\n' for action in ("bypass", "drop", "bypass", "compare"))
    async with running(tmp_path, text) as proxy:
        assert (await proxy.execute("query-status"))["bypassed_frames"] == 0
        proxy.engine.hits = {0: 5, 1: 70, 2: 8, 3: 900}
        rules = await proxy.execute("query-policy")
        assert [rule["frames"] for rule in rules] == [5, 70, 8, 900]
        assert (await proxy.execute("query-status"))["bypassed_frames"] == 13
        await proxy.execute("set-policy", policies=rules)
        assert [rule["frames"] for rule in await proxy.execute("query-policy")] == [0] * 4
        await proxy.execute("set-policy", policies=[])
        status = await proxy.execute("query-status")
        assert (status["bypassing"], status["bypassed_frames"]) == (True, 13), "no checkpoint since"
        await proxy.execute("checkpoint-begin")
        await proxy.execute("checkpoint-commit")
        status = await proxy.execute("query-status")
        assert (status["bypassing"], status["bypassed_frames"]) == (False, 0)
        await proxy.execute("set-policy", policies=rules)
        assert (await proxy.execute("query-status"))["bypassing"], "before the first frame"


@pytest.mark.parametrize(
    ("command", "arguments", "what"),
    [
        ("frobnicate", {}, "there is no command 'frobnicate'"),
        ("query-status", {"x": 1}, "takes no argument 'x'"),
        ("set-policy", {}, "needs the argument 'policies'"),
        ("set-policy", {"policies": {}}, "must be a JSON array"),
        ("query-flows", {"limit": 5.0}, "'limit' must be a whole number"),
    ],
)
async def test_wrong_commands(tmp_path: Path, command: str, arguments: dict[str, object], what: str) -> None:
    async with running(tmp_path) as proxy:
        with pytest.raises(ControlError, match=what):
            await proxy.execute(command, **arguments)


async def test_a_port_fault_is_an_event(tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        events = await proxy.events("PORT_FAULT")
        proxy.engine.report(PortFault(0, Port.SECONDARY, 100, "svm0: the interface is down"))
        assert await events.next() == {
            "event": "PORT_FAULT",
            "nic": 0,
            "port": "secondary",
            "errno": 100,
            "text": "svm0: the interface is down",
        }
        events.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    async with running(tmp_path) as proxy:
        os.kill(os.getpid(), number)
        await asyncio.wait_for(proxy.task, 5)
    assert list(tmp_path.iterdir()) == []


async def test_quit_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        assert await proxy.execute("quit") == {}
        await asyncio.wait_for(proxy.task, 5)
    assert not Path(proxy.socket).exists()


async def test_a_data_path_that_fails_ends_the_proxy(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.fail = RuntimeError("boom")
    async with running(tmp_path, engine=engine) as proxy:
        with pytest.raises(UserError, match="the data path failed: boom"):
            await asyncio.wait_for(asyncio.shield(proxy.task), 5)
    assert list(tmp_path.iterdir()) == []


async def test_metrics_over_http(tmp_path: Path) -> None:
    async with running(tmp_path, metrics=True) as proxy:
        assert proxy.metrics
        url = f"http://127.0.0.1:{proxy.metrics.port}/metrics"
        text = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()
        assert 'colo_proxy_state{state="requested"} 1.0' in text
        assert 'colo_proxy_vmm_connected{side="control"}' in text


async def test_the_socket_is_closed_to_others(tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        assert stat.S_IMODE(Path(proxy.socket).stat().st_mode) == 0o660


def test_stale_live_and_strange_sockets(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    first = listen(Unix(str(path)))
    with pytest.raises(HostError, match="another proxy is listening there"):
        listen(Unix(str(path)))
    first.close()
    listen(Unix(str(path))).close()  # what a dead proxy left
    path.unlink()
    path.write_text("precious")
    with pytest.raises(HostError, match="exists and is not a socket"):
        listen(Unix(str(path)))
    assert path.read_text() == "precious"
    with pytest.raises(HostError, match="directory does not exist; create it"):
        listen(Unix(str(tmp_path / "none" / "s.sock")))
    link = tmp_path / "link.sock"
    link.symlink_to(path)
    with pytest.raises(HostError, match="not a socket"):
        listen(Unix(str(link)))


async def until(condition: "object") -> None:
    for _ in range(500):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition never came true")
