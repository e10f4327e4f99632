"""Binds the checkpoint machine to the data path and the clock; its commands are carried out here alone.

Words of the VMM go through `say`, one at a time: the next is fed when the data path has done what followed
from the one before. What the data path reports is fed in the order it came, `Applied` included, so that a
divergence of the new epoch is never taken for one of the old.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from colo_proxy.checkpoint.commands import Command, Tell
from colo_proxy.checkpoint.events import Applied, Event, Unsure
from colo_proxy.checkpoint.machine import Machine, State
from colo_proxy.core.policy import PolicyRule
from colo_proxy.engine.messages import Done, NicCounters, PortFault
from colo_proxy.vocabulary import Divergence, Exhausted, FlowInfo, Port, Word

log = logging.getLogger(__name__)


class DataPath(Protocol):
    """The engine, as the control plane uses it (colo_proxy.engine.engine)."""

    @property
    def event_fd(self) -> int: ...
    @property
    def beat(self) -> int: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...
    def events(self) -> Sequence[Divergence | Exhausted | Done | PortFault]: ...
    def command(self, word: Word, stamp_ns: int = 0) -> int: ...
    def attach(self, nic: int, port: Port, fd: int, *, out: bool = False) -> int: ...
    def set_policies(self, rules: Sequence[PolicyRule]) -> int: ...
    def policy_frames(self) -> list[tuple[PolicyRule, int]]: ...
    def request_flows(self, after: int = 0, most: int = 1 << 31) -> int: ...
    def snapshot(self) -> list[NicCounters]: ...


Occurrence = Command | Divergence | Exhausted | PortFault  # what watchers are told
Watcher = Callable[[Occurrence], None]


class Coordinator:
    """One proxy's checkpoints, live. Belongs to the control thread's event loop.

    Watchers are told, in order, every command but `Tell`, and all that the data path reports but answers.
    `before_svm_stop` is called when the SVM's stop has been heard of and the data path has not been told yet;
    what it returns is waited for if the VMM waits for us, and lets the VMs stand still as long.
    """

    def __init__(
        self, engine: DataPath, machine: Machine, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.engine = engine
        self.machine = machine
        self.watchers: list[Watcher] = []
        self.before_svm_stop: list[Callable[[], asyncio.Future[None]]] = []
        self._clock = clock
        self._order = asyncio.Lock()
        self._answers: dict[int, asyncio.Future[Done]] = {}
        self._words: dict[int, Word] = {}  # by ticket
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen to the data path, and let time pass for the machine."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.engine.event_fd, self._heard)
        self._tick()

    def close(self) -> None:
        """Stop listening; who still waits for an answer is told that none will come."""
        asyncio.get_running_loop().remove_reader(self.engine.event_fd)
        if self._timer:
            self._timer.cancel()
        for answer in self._answers.values():
            answer.cancel()

    async def say(self, *events: Event) -> None:
        """Feed events one after the other, each when the data path has done what the one before asked for.

        Raises IllegalWord at the first that the state does not allow.
        """
        async with self._order:
            for event in events:
                await self._say(event)

    async def doubt(self, why: str) -> None:
        """Something that a guest said may be lost: hold, and ask for a checkpoint.

        But for where there is no replica to bring up, or a checkpoint that heals it is being made.
        """
        async with self._order:
            if self.machine.state in (State.PROTECTED, State.REQUESTED):
                await self._say(Unsure(why))

    async def _say(self, event: Event) -> None:
        done = self._feed(event)
        if done:
            await asyncio.wait(done)

    async def flows(self, after: int, most: int) -> list[FlowInfo]:
        """Up to `most` flows in the order of their `id`, those above `after`; fewer: there are no more."""
        found: list[FlowInfo] = []
        at: int | None = after
        while at is not None and len(found) < most:
            done = await self._answer(self.engine.request_flows(at, most - len(found)))
            found += done.flows
            at = done.after
        return found

    def attach(self, nic: int, port: Port, fd: int, *, out: bool = False) -> Awaitable[object]:
        """Give a port another descriptor; done when it uses the former no more."""
        return self._answer(self.engine.attach(nic, port, fd, out=out))

    async def set_policies(self, rules: Sequence[PolicyRule]) -> None:
        """Let these rules decide from now on. Raises ValueError where they cannot."""
        await self._answer(self.engine.set_policies(rules))

    def retime(self, *, min_interval_ms: int, max_hold_ms: int, repeat_ms: int) -> None:
        """Change the machine's times while it runs."""
        self.machine.retime(min_interval_ms=min_interval_ms, max_hold_ms=max_hold_ms, repeat_ms=repeat_ms)
        self._tick()

    def waiting_ns(self) -> int:
        """How long a checkpoint has been wanted, or output been waiting for one."""
        return self.machine.waiting_ns(self._clock())

    def _answer(self, ticket: int) -> asyncio.Future[Done]:
        answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._answers[ticket] = answer
        return answer

    def _heard(self) -> None:
        """The data path has something to report."""
        for report in self.engine.events():
            if isinstance(report, Done):
                word = self._words.pop(report.ticket, None)
                if word is not None:
                    self._feed(Applied(word, report.late))
                answer = self._answers.pop(report.ticket, None)
                if answer and not answer.done():
                    answer.set_result(report)
                continue
            if not isinstance(report, PortFault):
                self._feed(report)
            self._watch(report)

    def _feed(self, event: Event) -> list[asyncio.Future[Any]]:
        return self._perform(self.machine.feed(event, self._clock()))

    def _tick(self) -> None:
        self._perform(self.machine.tick(self._clock()))

    def _perform(self, commands: list[Command]) -> list[asyncio.Future[Any]]:
        """Carry commands out, in order; returns the answers that the data path owes."""
        owed: list[asyncio.Future[Any]] = []
        for command in commands:
            if isinstance(command, Tell):
                if command.word is Word.SVM_STOP:
                    ready = [prepare() for prepare in self.before_svm_stop]
                    if not command.stamp_ns:
                        owed += ready
                ticket = self.engine.command(command.word, command.stamp_ns)
                self._words[ticket] = command.word
                owed.append(self._answer(ticket))
            else:
                self._watch(command)
        self._schedule()
        return owed

    def _schedule(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        deadline = self.machine.deadline()
        if deadline is not None:
            delay = max(0, deadline - self._clock()) / 1e9
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _watch(self, what: Occurrence) -> None:
        for watcher in self.watchers:
            try:
                watcher(what)
            except Exception:  # whoever watches must not stop a checkpoint
                log.exception("a watcher failed")
