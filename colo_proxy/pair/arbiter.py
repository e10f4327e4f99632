"""The store, asked without ever being waited for: one process for each endpoint, that can be abandoned.

`asking` decides what is asked of whom; here are the processes (`worker`), their pipes and the clock. A call
that blocks (on a hard NFS mount even past SIGKILL) blocks that process and no other. A process that is
abandoned is killed and not waited for. While an endpoint has `MOST_ABANDONED` of them that have not died, no
other is started for it. Everything here is for one thread with a running asyncio loop.

The processes are started at once and wait for questions, since starting one takes longer than a fast answer.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from colo_proxy.pair import lines
from colo_proxy.pair.asking import DECIDING_S, Asking, Call, Output, Question, Send, Start
from colo_proxy.pair.events import Answer, Unanswered
from colo_proxy.pair.record import Record
from colo_proxy.pair.store import DirectoryPlace, Place, StoreError

LANES = 32  # calls to a member of etcd at once: it may take a second to answer, and is asked every 30 ms
MOST_ABANDONED = 4
_MOST_PENDING = 1 << 20  # bytes without a newline, from a process of our own
# Not `-m`: the working directory may belong to somebody else, so nothing is imported from it.
_CODE = "import sys; sys.path.append(sys.argv[1]); from colo_proxy.pair.worker import main; main()"
_COMMAND = (sys.executable, "-P", "-c", _CODE, str(Path(__file__).parents[2]))

Tell = Callable[[Answer | Unanswered], None]


class _Process:
    """The process of one endpoint."""

    def __init__(self, place: Place, command: Sequence[str]) -> None:
        self.place = place
        self.lanes = 1 if isinstance(place, DirectoryPlace) else LANES
        self.command = command
        self.running: subprocess.Popen[bytes] | None = None
        self.pending = b""
        self._abandoned: list[subprocess.Popen[bytes]] = []

    def start(self) -> int | None:
        """Start it; returns the descriptor of its answers, or None where it cannot be started now."""
        if len(self.alive()) >= MOST_ABANDONED:
            return None
        try:
            # A session of its own: Ctrl-C in a terminal is for the proxy.
            self.running = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
            )
        except OSError:
            return None
        assert self.running.stdin  # noqa: S101 - it is a pipe
        assert self.running.stdout  # noqa: S101
        os.set_blocking(self.running.stdin.fileno(), False)
        os.set_blocking(self.running.stdout.fileno(), False)
        self.pending = b""
        return self.running.stdout.fileno() if self.write(lines.settings(self.place, self.lanes)) else None

    def write(self, data: bytes) -> bool:
        """Give it a line; whether it was taken."""
        try:
            return self.running is not None and os.write(self._stdin(), data) == len(data)
        except OSError:  # it is full, or gone
            return False

    def _stdin(self) -> int:
        return self.running.stdin.fileno() if self.running and self.running.stdin else -1

    def answers(self) -> list[bytes] | None:
        """What it has answered since; None where it has ended."""
        if self.running is None or self.running.stdout is None:
            return None
        try:
            data = os.read(self.running.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return []
        *whole, self.pending = (self.pending + data).split(b"\n")
        return whole if data and len(self.pending) < _MOST_PENDING else None

    def abandon(self) -> None:
        """Kill it, without waiting for that."""
        process, self.running = self.running, None
        if process is not None and process.stdin and process.stdout:
            process.kill()
            process.stdin.close()
            process.stdout.close()
            self._abandoned.append(process)

    def alive(self) -> list[subprocess.Popen[bytes]]:
        """Those that were killed and have not died yet."""
        self._abandoned = [each for each in self._abandoned if each.poll() is None]
        return self._abandoned


class Reply(NamedTuple):
    """What the store holds, and the seconds that the call took."""

    record: Record | None
    seconds: float


class Arbiter:
    """Sends questions to the store's endpoints, and reports answers, and that none has come.

    `tell` receives both; `called` receives every call that has ended, with its time. `command` is for tests.
    """

    def __init__(
        self,
        places: Sequence[Place],
        tell: Tell,
        called: Callable[[Call], None] | None = None,
        *,
        command: Sequence[str] = _COMMAND,
    ) -> None:
        self._processes = [_Process(place, command) for place in places]
        self._asking = Asking([each.lanes for each in self._processes])
        self._tell = tell
        self._called = called
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._tick()

    def ask(self, question: Question, interval: float = DECIDING_S) -> None:
        """Have this question asked until it is answered; `tell` gets `Answer` once, `Unanswered` before."""
        self._carry_out(self._asking.ask(question, interval, _now()))

    def withdraw(self) -> None:
        """Ask nothing any more."""
        self._asking.withdraw()

    async def close(self, patience: float = 1.0) -> None:
        """End the processes; one that cannot die is left behind after `patience` seconds."""
        if self._timer:
            self._timer.cancel()
        for number in range(len(self._processes)):
            self._abandon(number)
        until = _now() + patience
        for process in [each for endpoint in self._processes for each in endpoint.alive()]:
            await _ended(process, until - _now())
            process.poll()

    def _tick(self) -> None:
        self._timer = None
        out: list[Output] = []
        # After a pause of this process, answers that wait in the pipes come before any timeout.
        for number in range(len(self._processes)):
            out += self._read(number)
        self._carry_out(out + self._asking.tick(_now()))

    def _carry_out(self, out: list[Output]) -> None:
        """Do all of it, and what comes of it; then wait for the next."""
        told: list[Answer | Unanswered] = []
        while out:
            match out.pop(0):
                case Send(endpoint, number, question):
                    if not self._processes[endpoint].write(lines.request(number, question)):
                        out += self._asking.failed(endpoint, number, "its process takes no request", _now())
                case Start(endpoint):
                    out += self._start(endpoint)
                case Call() as call:
                    if self._called:
                        self._called(call)
                case event:
                    told.append(event)
        if self._timer:
            self._timer.cancel()
        wait = max(0.0, self._asking.next_tick() - _now())
        self._timer = self._loop.call_later(min(wait, 3600.0), self._tick)
        for event in told:  # last: whoever is told may ask again
            self._tell(event)

    def _start(self, endpoint: int) -> list[Output]:
        self._abandon(endpoint)
        descriptor = self._processes[endpoint].start()
        if descriptor is None:
            self._abandon(endpoint)
            return self._asking.died(endpoint, "its process cannot be started", _now())
        self._loop.add_reader(descriptor, self._readable, endpoint)
        return self._asking.started(endpoint, _now())

    def _abandon(self, endpoint: int) -> None:
        running = self._processes[endpoint].running
        if running is not None and running.stdout is not None:
            self._loop.remove_reader(running.stdout.fileno())
        self._processes[endpoint].abandon()

    def _readable(self, endpoint: int) -> None:
        self._carry_out(self._read(endpoint))

    def _read(self, endpoint: int) -> list[Output]:
        """What an endpoint's process has answered."""
        if self._processes[endpoint].running is None:
            return []
        answers = self._processes[endpoint].answers()
        if answers is None:
            self._abandon(endpoint)
            return self._asking.died(endpoint, "its process has ended", _now())
        return [each for answer in answers for each in self._answer(endpoint, answer)]

    def _answer(self, endpoint: int, answer: bytes) -> list[Output]:
        try:
            number, record, error = lines.read_answer(answer)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._abandon(endpoint)
            return self._asking.died(endpoint, "its process has answered nonsense", _now())
        if error:
            return self._asking.failed(endpoint, number, error, _now())
        return self._asking.answered(endpoint, number, record, _now())


async def ask_once(places: Sequence[Place], question: Question, within: float) -> Reply:
    """Ask for at most so many seconds, by processes of their own that are then ended."""
    errors: dict[int, str] = {}
    answer: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()

    def tell(event: Answer | Unanswered) -> None:
        if isinstance(event, Answer):
            answer.set_result(event.record)

    def called(call: Call) -> None:
        errors[call.endpoint] = call.error
        if not call.error and not answer.done():
            seconds.append(call.seconds)

    seconds: list[float] = []
    arbiter = Arbiter(places, tell, called)
    try:
        arbiter.ask(question)
        record = await asyncio.wait_for(answer, within)
    except TimeoutError:
        words = dict.fromkeys(error for error in errors.values() if error)
        why = "; ".join(words) or f"no answer in {within:g} s"
        raise StoreError(why) from None
    finally:
        await arbiter.close()
    return Reply(record, seconds[-1] if seconds else 0.0)


def _now() -> float:
    return time.monotonic()


async def _ended(process: "subprocess.Popen[bytes]", within: float) -> None:
    """Wait until a process has ended, at most for so many seconds."""
    if process.poll() is not None or within <= 0:
        return
    descriptor = os.pidfd_open(process.pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), within)
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)
