"""`colo-proxy top` in a real terminal, 80 by 24: what is on its screen, and how it ends."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.engine import FLOW, FakeEngine, counters
from unit.proxy import Running, running

from colo_proxy.vocabulary import Divergence, Reason

TOP = f"{sys.executable} -m colo_proxy.cli.main top --interval 0.1 --socket"
DNS = "udp 192.0.2.2:53 > 192.0.2.1:50000"


class Terminal:
    """A tmux of our own, 80 by 24, with a shell in it that says how its one command ended."""

    def __init__(self, directory: Path) -> None:
        self._tmux = ["tmux", "-S", str(directory / "tmux.sock"), "-f", "/dev/null"]
        # If these are set, as pytest-xdist does it, they are the screen's size for good.
        size = {"COLUMNS", "LINES"}
        self._environment = {name: value for name, value in os.environ.items() if name not in size}
        self._environment["LC_ALL"] = "C.UTF-8"

    def shell(self) -> None:
        """A shell that people use: one with job control."""
        shell = ("env", "-u", "ENV", "PS1=$ ", "sh", "-i")
        self("new-session", "-d", "-x", "80", "-y", "24", *shell)

    def type(self, line: str) -> None:
        self("send-keys", "-l", line)
        self("send-keys", "Enter")

    def start(self, command: str) -> None:
        modes = "stty -a | grep -o -e ' -\\?icanon' -e ' -\\?echo '"
        shell = f'trap : INT; {command}; status=$?; {modes}; echo "it ended with $status"; exec cat'
        self("new-session", "-d", "-x", "80", "-y", "24", "sh", "-c", shell)

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=10,
            env=self._environment,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self) -> list[str]:
        return self("capture-pane", "-p").splitlines()

    async def until(self, shown: Callable[[list[str]], bool]) -> list[str]:
        """The screen as soon as it is as wanted."""
        lines: list[str] = []
        for _ in range(200):
            lines = await asyncio.to_thread(self.screen)
            if shown(lines):
                return lines
            await asyncio.sleep(0.05)
        raise AssertionError("\n".join(lines))

    def close(self) -> None:
        with contextlib.suppress(AssertionError):
            self("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if not shutil.which("tmux"):
        if os.environ.get("CI") == "true":
            pytest.fail("tmux is missing")
        pytest.skip("tmux is missing (Debian: apt install tmux)")
    made = Terminal(tmp_path)
    yield made
    made.close()


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, "[checkpoint]\nmin_interval_ms = 0\n") as started:
        yield started


def word(text: str) -> Callable[[list[str]], bool]:
    return lambda lines: any(text in line for line in lines)


async def protect(proxy: Running) -> None:
    await proxy.execute("checkpoint-begin")
    await proxy.execute("checkpoint-commit")


async def test_what_is_on_the_screen(proxy: Running, terminal: Terminal) -> None:
    for _ in range(3):
        proxy.engine.report(Divergence(0, FLOW.flow, "tcp", Reason.PAYLOAD, 4096, 0))
    proxy.engine.report(Divergence(0, DNS, "udp", Reason.MISSING_SECONDARY, 0, 0))
    await protect(proxy)
    terminal.start(f"{TOP} {proxy.socket}")
    await terminal.until(word("PROTECTED"))
    buckets = (0,) * 5 + (90,) + (0,) * 4 + (10,) + (0,) * 21
    proxy.engine.counters = [replace(counters(), hold_buckets=buckets)]
    lines = await terminal.until(word("HOLD TIME   p50 <32 µs   p90 <32 µs   p99 <1 ms   max <1 ms"))
    assert len(lines) == 24
    assert lines[0].startswith(" web1  PROTECTED: the SVM can take over at any time  ")
    assert lines[1] == " epoch 1   VMM control (control DOWN)   flows 11 of 100,000"
    shown = "\n".join(lines)
    assert " QUEUES      held 9, 8.8 KiB of 64.0 MiB [··········]  dropped 82, most overrun\n" in shown
    assert " CHECKPOINTS 1  (0 a minute)   last " in shown
    assert " for         start 1\n" in shown
    assert f"\n       3 {FLOW.flow}                       3 tcp/80\n" in shown
    assert f"\n       1 {DNS}                       1 udp/53\n" in shown
    assert lines[23] == " q quit   every 0.1 s"
    terminal("resize-window", "-x", "40", "-y", "10")
    small = " web1  PROTECTED: the SVM can"
    await terminal.until(
        lambda lines: len(lines) == 10 and lines[0].startswith(small) and "q quit" in lines[9]
    )


async def test_throughput_and_what_happens(proxy: Running, terminal: Terminal) -> None:
    await protect(proxy)
    terminal.start(f"{TOP} {proxy.socket} --interval 0.5")
    await terminal.until(word("EVENTS  none since top started"))
    count = 0

    def moved(lines: list[str]) -> bool:
        nonlocal count
        count += 1
        uplink = replace(counters().ports[0], received_bytes=count * 10_000_000, received=count * 8000)
        proxy.engine.counters = [replace(counters(), ports=(uplink, *counters().ports[1:]))]
        return any("MB/s" in line and "up0" in line for line in lines)

    await terminal.until(moved)
    proxy.engine.report(Divergence(0, FLOW.flow, "tcp", Reason.PAYLOAD, 4096, 0))
    await terminal.until(word(f"DIVERGENCE payload at byte 4,096 of {FLOW.flow}"))
    lines = await terminal.until(word("REQUESTED: what differs is held until the VMM"))
    await terminal.until(word("CHECKPOINT payload: requested"))
    assert re.match(r" a checkpoint has been wanted for \d+\.\d s: the outputs differ \(payload\)", lines[2])


async def test_several_nics_share_a_line(terminal: Terminal, tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.counters = [counters()] * 4
    more = "".join(
        f'[[nic]]\nuplink = "packet:u{n}"\nprimary = "packet:p{n}"\nsecondary = "packet:s{n}"\n'
        for n in (1, 2, 3)
    )
    async with running(tmp_path, more, engine=engine) as proxy:
        terminal.start(f"{TOP} {proxy.socket}")
        await terminal.until(word(" 4 nics   "))


@pytest.mark.parametrize(("keys", "status"), [("q", 0), ("C-c", 0), ("C-d", 0), ("TERM", 143)])
async def test_it_leaves_the_terminal_as_it_was(
    proxy: Running, terminal: Terminal, keys: str, status: int
) -> None:
    terminal.start(f"{TOP} {proxy.socket} --interval 60")
    await terminal.until(word("q quit"))
    assert terminal("display-message", "-p", "#{alternate_on} #{cursor_flag}") == "1 0\n"
    if keys == "TERM":
        shell = int(terminal("display-message", "-p", "#{pane_pid}"))
        (child,) = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
    else:
        terminal("send-keys", keys)
    lines = await terminal.until(word("it ended with"))
    assert f"it ended with {status}" in lines
    assert {" icanon", " echo"} <= set(lines)
    assert terminal("display-message", "-p", "#{alternate_on} #{cursor_flag}") == "0 1\n"
    assert "Traceback" not in "\n".join(lines)


@pytest.mark.parametrize("how", ["C-z", "STOP"])
async def test_it_is_stopped_and_goes_on(proxy: Running, terminal: Terminal, how: str) -> None:
    terminal.shell()
    terminal.type(f"{TOP} {proxy.socket} --interval 60")
    await terminal.until(word("q quit"))
    if how == "C-z":
        terminal("send-keys", how)
        await terminal.until(lambda lines: lines[-1:] != [" q quit   every 60 s"])
        await terminal.until(word("Stopped"))
        assert terminal("display-message", "-p", "#{alternate_on} #{cursor_flag}") == "0 1\n"
        terminal.type("stty -a")
        modes = " ".join(await terminal.until(word("echoctl")))
        assert " icanon " in modes
        assert " echo " in modes
    else:  # nobody can help what the terminal is then like; but it goes on as it should
        top = int(terminal("display-message", "-p", "#{pane_pid}"))
        (child,) = Path(f"/proc/{top}/task/{top}/children").read_text().split()
        os.kill(int(child), signal.SIGSTOP)
        await terminal.until(word("Stopped"))
        terminal.type("stty icanon echo; clear")
        await terminal.until(lambda lines: not word("q quit")(lines))
    terminal.type("fg")
    lines = await terminal.until(word("q quit"))
    assert lines[0].startswith(" web1  REQUESTED"), "it is drawn at once, and from the top"
    assert terminal("display-message", "-p", "#{alternate_on} #{cursor_flag}") == "1 0\n"
    terminal("send-keys", "q")
    await terminal.until(lambda lines: not word("q quit")(lines))
    terminal.type("echo it ended with $?")
    await terminal.until(word("it ended with 0"))


async def test_another_size_is_drawn_at_once(proxy: Running, terminal: Terminal) -> None:
    terminal.start(f"{TOP} {proxy.socket} --interval 60")
    await terminal.until(word("q quit"))
    terminal("resize-window", "-x", "70", "-y", "30")
    await terminal.until(lambda lines: len(lines) == 30 and lines[29].startswith(" q quit"))


async def test_a_terminal_that_has_only_ascii(proxy: Running, terminal: Terminal) -> None:
    ports = (replace(counters().ports[0], name="é0"), *counters().ports[1:])
    proxy.engine.counters = [replace(counters(), ports=ports)]
    terminal.start(f"PYTHONIOENCODING=ascii {TOP} {proxy.socket}")
    await terminal.until(word("HOLD TIME   p50 <4 us   p90"))
    lines = await terminal.until(word(" ?0   "))
    assert any("of 64.0 MiB [..........]" in line for line in lines)
    for _ in range(2):
        proxy.engine.report(Divergence(0, FLOW.flow, "tcp", Reason.PAYLOAD, 4096, 0))
    await terminal.until(word("DIVERGENCE 2x payload at byte 4,096 of"))
    terminal("send-keys", "q")
    lines = await terminal.until(word("it ended with 0"))
    assert "Traceback" not in "\n".join(lines)


@pytest.mark.parametrize("term", ["dumb", ""])
async def test_a_terminal_that_cannot_be_drawn_on(proxy: Running, terminal: Terminal, term: str) -> None:
    terminal.start(f"TERM={term} {TOP} {proxy.socket}")
    lines = await terminal.until(word("it ended with 2"))
    said = f"top cannot draw on this terminal (TERM={term}); use colo-proxy status or colo-proxy events"
    folded = "".join(lines).replace(" ", "")
    assert folded.startswith(f"colo-proxy: {said}".replace(" ", ""))


async def test_a_proxy_that_goes_away_and_comes_back(terminal: Terminal, tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        await protect(proxy)
        terminal.start(f"{TOP} {proxy.socket}")
        await terminal.until(word("PROTECTED"))
    lines = await terminal.until(word("NO ANSWER: no such socket; is the proxy running?"))
    assert " epoch 1   VMM control (control DOWN)   flows 11 of 100,000" in lines, "what was seen last stays"
    async with running(tmp_path) as proxy:
        lines = await terminal.until(word(" epoch 0 "))
        assert lines[0].startswith(" web1  REQUESTED")
    terminal("send-keys", "q")
    await terminal.until(word("it ended with 0"))


async def test_a_proxy_that_hangs(terminal: Terminal, tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        terminal.start(f"{TOP} {proxy.socket}")
        await terminal.until(word("REQUESTED"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(proxy.socket)
        listener.listen()
        await terminal.until(word("NO ANSWER: the proxy does not answer; see its log"))


async def test_without_a_proxy_or_a_terminal(proxy: Running, tmp_path: Path, terminal: Terminal) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [*f"{TOP} {proxy.socket}".split()],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "colo-proxy: top needs a terminal; programs can use: colo-proxy status --json\n"
    terminal.start(f"{TOP} {tmp_path}/none")
    lines = await terminal.until(word("it ended with 2"))
    assert "no such socket; is the proxy running?" in "".join(lines)
