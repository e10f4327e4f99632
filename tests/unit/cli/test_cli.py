"""The commands, as a user runs them.

Past 400 lines: all commands, run against the same small proxy.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes.engine import FLOW
from unit.proxy import NIC, Running, running

from colo_proxy.cli import target
from colo_proxy.cli.main import COMMANDS, main
from colo_proxy.errors import ControlError
from colo_proxy.vocabulary import Divergence, Reason

PAYLOAD = Divergence(0, FLOW.flow, "tcp", Reason.PAYLOAD, 4096, 0)


async def cli(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "colo_proxy.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, "[checkpoint]\nmin_interval_ms = 0\n") as started:
        (tmp_path / "web1.toml").write_text(f'[proxy]\nname = "web1"\ncontrol = "{started.socket}"\n' + NIC)
        yield started


@pytest.mark.parametrize(
    "arguments", [["--help"], *([name, "--help"] for name in COMMANDS), ["policy", "add", "--help"]]
)
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "usage: colo-proxy" in out
    if arguments == ["--help"]:
        assert all(name in out for name in COMMANDS)


def test_version_and_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in ((["--version"], 0), ([], 2), (["nonsense"], 2), (["status", "--nonsense"], 2)):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == code
    assert capsys.readouterr().out.startswith("colo-proxy ")


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (["compare", "a", "b", "--nonsense"], "colo-proxy compare"),
        (["compare", "a", "b", "c"], "colo-proxy compare"),
        (["policy", "add", "{}", "--nonsense", "--first"], "colo-proxy policy add"),
        (["status", "-x"], "colo-proxy status"),
        (["--nonsense", "status"], "colo-proxy"),
    ],
)
def test_an_unknown_option_is_answered_by_its_command(
    capsys: pytest.CaptureFixture[str], arguments: list[str], usage: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: {usage} [-h]")
    assert f"{usage}: error: unrecognized arguments: " in said


def test_commands_for_programs_start_without_the_slow_libraries() -> None:
    code = (
        "import sys\n"
        "from colo_proxy.cli.main import parser\n"
        "parser().parse_args(['status'])\n"
        "slow = {'pydantic', 'scapy', 'pyroute2', 'asyncio', 'prometheus_client', 'uvloop', 'qemu'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


async def test_status(proxy: Running, tmp_path: Path) -> None:
    for how in (["--socket", proxy.socket], [str(tmp_path / "web1.toml")], [proxy.socket]):
        done = await cli("status", *how)
        assert (done.returncode, done.stderr) == (3, "")  # no checkpoint yet
        assert "\nstate        requested: all output is held" in done.stdout
        assert "\n0    packet:up0  packet:pvm0  packet:svm0" in done.stdout
    status = json.loads((await cli("status", "--json", "--socket", proxy.socket)).stdout)
    assert {
        "state",
        "epoch",
        "nics",
        "flows",
        "held_frames",
        "held_bytes",
        "checkpoints",
        "divergences",
    } <= set(status)
    assert (status["flows"], status["held_frames"], status["held_bytes"], status["divergences"]) == (
        11,
        9,
        9000,
        11,
    )


async def test_flows(proxy: Running) -> None:
    done = await cli("flows", "--socket", proxy.socket)
    assert FLOW.flow in done.stdout
    assert "(waits for a checkpoint)" in done.stdout
    [flow] = json.loads((await cli("flows", "--json", "--socket", proxy.socket)).stdout)
    assert flow["seq_offset"] == 77


async def test_events_follow(proxy: Running) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "colo_proxy.cli.main",
        "events",
        "--json",
        proxy.socket,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    await asyncio.wait_for(process.stdout.readline(), 20)  # a repeated request says that it is connected
    proxy.engine.report(PAYLOAD)
    while (event := json.loads(await asyncio.wait_for(process.stdout.readline(), 20)))[
        "event"
    ] != "DIVERGENCE":
        pass
    assert event["data"]["stream_offset"] == 4096
    await proxy.execute("quit")
    assert await asyncio.wait_for(process.wait(), 20) == 5


async def test_checkpoint_waits_for_the_commit(proxy: Running) -> None:
    command = asyncio.create_task(cli("checkpoint", "--socket", proxy.socket, "--json"))
    while not command.done():
        if (await proxy.execute("query-status"))["state"] == "requested":
            await asyncio.sleep(0.5)
            await proxy.execute("checkpoint-begin")
            await proxy.execute("checkpoint-commit")
        await asyncio.sleep(0.2)
    done = await command
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["epoch"] >= 1


async def test_checkpoint_that_nobody_makes(proxy: Running) -> None:
    done = await cli("checkpoint", "--socket", proxy.socket, "--timeout", "0.3")
    assert done.returncode == 6
    said = "colo-proxy: no checkpoint was committed within 0.3 s: the VMM {}; the request stays in force\n"
    assert done.stderr == said.format("has not begun one")
    await proxy.execute("checkpoint-begin")
    await proxy.execute("checkpoint-abort")
    await proxy.execute("checkpoint-begin")
    await proxy.execute("checkpoint-commit")
    asked = asyncio.create_task(cli("checkpoint", "--socket", proxy.socket, "--timeout", "3"))
    while (await proxy.execute("query-status"))["state"] != "requested":
        await asyncio.sleep(0.05)
    await proxy.execute("checkpoint-begin")
    assert (await asked).stderr == said.replace("0.3", "3").format("has begun one")
    await proxy.execute("checkpoint-commit")
    assert (await cli("checkpoint", "--no-wait", "--socket", proxy.socket)).stdout == "checkpoint requested\n"


async def test_failover(proxy: Running) -> None:
    unasked = await cli("failover", proxy.socket)
    assert (unasked.returncode, unasked.stdout) == (2, "")
    assert unasked.stderr == (
        "colo-proxy: Let the SVM of web1 take over? This cannot be undone. "
        "This is not a terminal, so nobody can confirm it: repeat the command with --yes\n"
    )
    assert (await proxy.execute("query-status"))["state"] != "failed-over"
    for _ in range(2):  # where it has been done, it is done
        done = await cli("failover", proxy.socket, "--yes")
        assert (done.returncode, done.stdout) == (0, "the SVM has taken over\n")
    assert (await cli("status", proxy.socket)).returncode == 4


@pytest.mark.parametrize(("answer", "status", "said"), [("y", 0, "is stopping"), ("", 2, "nothing was done")])
async def test_quit_asks_at_a_terminal(proxy: Running, answer: str, status: int, said: str) -> None:
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "colo_proxy.cli.main", "quit", proxy.socket]
    process = await asyncio.create_subprocess_exec(*command, stdin=its, stdout=its, stderr=its)
    os.close(its)
    text = b""
    while b"[y/N]" not in text:
        text += await asyncio.to_thread(os.read, ours, 1000)
    assert b"Stop the proxy of web1? Its VM cannot reach clients without one." in text
    os.write(ours, answer.encode() + b"\n")
    assert await asyncio.wait_for(process.wait(), 20) == status
    assert said in os.read(ours, 1000).decode()
    os.close(ours)


async def test_status_says_by_its_exit_status_how_it_is(tmp_path: Path) -> None:
    observed = tmp_path / "observed"
    observed.mkdir()
    async with running(observed, '[checkpoint]\nvmm = "none"\n') as observer:
        assert (await cli("status", observer.socket)).returncode == 3
    async with running(tmp_path, "[checkpoint]\nmax_hold_ms = 300\n") as proxy:
        assert (await cli("status", proxy.socket, "--json")).returncode == 3  # no checkpoint yet
        await proxy.execute("checkpoint-begin")
        await proxy.execute("checkpoint-commit")
        assert (await cli("status", proxy.socket)).returncode == 0
        proxy.engine.report(PAYLOAD)
        while not (await proxy.execute("query-status"))["alarm"]:
            await asyncio.sleep(0.05)
        assert (await cli("status", proxy.socket)).returncode == 3
        await proxy.execute("replica-lost")
        assert (await cli("status", proxy.socket)).returncode == 3


async def test_policy(proxy: Running, tmp_path: Path) -> None:
    assert (
        "there is no rule 1: there are no rules" in (await cli("policy", "remove", "1", proxy.socket)).stderr
    )
    rules = tmp_path / "rules.toml"
    rules.write_text('[[policy]]\nmatch = {protocol = "udp", port = 53}\naction = "drop"\n')
    assert "no rules" in (await cli("policy", "list", proxy.socket)).stdout
    assert (
        await cli("policy", "set", str(rules), proxy.socket)
    ).stdout == "  1 drop     0 frames  protocol=udp port=53\n"
    rule = '{match = {protocol = "tcp"}, action = "bypass"}'
    added = await cli("policy", "add", rule, proxy.socket, "--first", "--json")
    assert [r["action"] for r in json.loads(added.stdout)] == ["bypass", "drop"]
    added = await cli("policy", "add", '{"match": {}, "action": "compare"}', proxy.socket)
    assert added.stdout.splitlines()[2] == "  3 compare  0 frames  everything"
    proxy.engine.hits = {0: 12345, 1: 1}
    assert (await cli("policy", "list", proxy.socket)).stdout.splitlines() == [
        "  1 bypass   12,345 frames  protocol=tcp",
        "  2 drop           1 frame  protocol=udp port=53",
        "  3 compare       0 frames  everything",
    ]
    removed = await cli("policy", "remove", "1", proxy.socket)
    assert removed.stdout.splitlines()[0] == "  1 drop     0 frames  protocol=udp port=53"
    files = {
        "empty.toml": "",
        "other.toml": "[log]\n",
        "misspelt.toml": '[[polcy]]\naction = "drop"\n',
        "table.toml": "policy = 3\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for wrong, what in (
        (["set", str(tmp_path / "empty.toml")], "no [[policy]]; write policy = [] to have no rules"),
        (["set", str(tmp_path / "other.toml")], "no [[policy]]; write policy = [] to have no rules"),
        (["set", str(tmp_path / "misspelt.toml")], "[polcy]: unknown section; did you mean 'policy'?"),
        (["set", str(tmp_path / "table.toml")], "must be an array of tables"),
        (["remove", "9"], "there is no rule 9: the rules are numbered from 1 to 2"),
        (["remove", "0"], "there is no rule 0: the rules are numbered from 1 to 2"),
        (["add", "{{"], "is not a rule; write"),
        (["add", '{action = "eat"}'], "the rules were not changed"),
        (["set", str(tmp_path / "none")], "No such file"),
    ):
        done = await cli("policy", *wrong, "--socket", proxy.socket)
        assert done.returncode == 2
        assert what in done.stderr
        assert done.stderr.count("\n") == 1
    assert len(await proxy.execute("query-policy")) == 2
    every = await cli("policy", "add", '{action = "bypass"}', proxy.socket, "--first")
    assert every.stdout.splitlines()[0] == "  1 bypass   0 frames  everything"
    assert every.stderr.startswith("colo-proxy: warning: policy 1: it releases, without")
    (tmp_path / "none.toml").write_text("policy = []\n")
    assert "no rules" in (await cli("policy", "set", str(tmp_path / "none.toml"), proxy.socket)).stdout
    assert await proxy.execute("query-policy") == []


@pytest.mark.parametrize("command", ["status", "flows", "events", "checkpoint", "failover"])
async def test_no_proxy_is_one_line_and_status_5(tmp_path: Path, command: str) -> None:
    nobody = tmp_path / "s.sock"
    for path, what in (
        (nobody, "no such socket; is the proxy running?"),
        (tmp_path, "nothing listens there; the proxy is not running"),
    ):
        done = await cli(command, "--socket", str(path))
        assert done.returncode == 5
        assert done.stderr.startswith(f"colo-proxy: {path}: ")
        assert done.stderr.count("\n") == 1
        assert what in done.stderr


def test_the_only_proxy_that_runs_need_not_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "RUNTIME", tmp_path)
    nobody = argparse.Namespace(socket=None, config=None)
    with pytest.raises(ControlError, match=f"^no proxy runs with .* in {tmp_path}; name the"):
        target.socket_of(nobody)
    with contextlib.ExitStack() as opened:

        def listen(name: str) -> socket.socket:
            listener = opened.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(tmp_path / name))
            listener.listen()
            return listener

        listen("dead.sock").close()
        listen("web1.sock")
        assert target.socket_of(nobody) == str(tmp_path / "web1.sock")
        listen("web2.sock")
        with pytest.raises(ControlError, match=r"^2 proxies run with .* \(web1\.sock, web2\.sock\); name"):
            target.socket_of(nobody)


async def test_what_is_no_configuration(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[proxy")
    for path, what in ((tmp_path / "no.toml", "No such file"), (bad, "not a TOML file")):
        done = await cli("status", str(path))
        assert done.returncode == 2
        assert what in done.stderr
        assert "Traceback" not in done.stderr


async def test_what_answers_but_is_no_proxy(tmp_path: Path) -> None:
    greetings = [b"SSH-2.0\n", b'{"QMP": {}}\n', b"[]\n", b"", b"\xff\n"]
    left = list(greetings)

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop())
        writer.close()

    server = await asyncio.start_unix_server(talk, str(tmp_path / "s"))
    for _ in greetings:
        done = await cli("status", "--socket", str(tmp_path / "s"))
        assert done.returncode == 5
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
    assert not left
    server.close()


async def test_run_with_a_wrong_configuration(tmp_path: Path) -> None:
    wrong = tmp_path / "w.toml"
    wrong.write_text("[proxy]\nnmae = 'x'\n[compare]\nreorder_ms = '5'\n")
    done = await cli("run", str(wrong))
    assert done.returncode == os.EX_CONFIG
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [f"{wrong}:{n}" for n in (1, 2, 4)]
    assert list(tmp_path.iterdir()) == [wrong]
