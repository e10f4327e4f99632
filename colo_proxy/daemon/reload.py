"""SIGHUP: the configuration file is read again, and what can be changed in a running proxy is.

A file with a mistake changes nothing. What is made once (sockets, interfaces, memory bounds) stays as it is
until a restart: each such key that differs is named in the log.
"""

import asyncio
import dataclasses
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

from colo_proxy import config
from colo_proxy.config import Config
from colo_proxy.core.policy import PolicyRule
from colo_proxy.daemon import service
from colo_proxy.errors import UserError
from colo_proxy.telemetry import logs

log = logging.getLogger("colo_proxy.reload")

# Of `[checkpoint]`: what the machine alone knows. `[log]` and `[[policy]]` are reloaded as a whole.
TIMES = ("min_interval_ms", "max_hold_ms", "repeat_ms")
PAUSE_S = 1.0  # from one reload to the next, whatever signals come
_SECTIONS = ("proxy", "compare", "checkpoint")


class Machine(Protocol):
    """What has times that can be changed: the checkpoint machine, by way of its coordinator."""

    def retime(self, *, min_interval_ms: int, max_hold_ms: int, repeat_ms: int) -> None: ...


class Reloader:
    """Reloads one proxy's configuration, one reload after the other."""

    def __init__(
        self,
        running: Config,
        use_policies: Callable[[Sequence[PolicyRule]], Awaitable[None]],
        machine: Machine,
        status: service.Status,
    ) -> None:
        self._running = running
        self._use_policies = use_policies
        self._machine = machine
        self._status = status
        self._order = asyncio.Lock()
        self._waiting = False  # a reload that has not begun
        self._tasks: set[asyncio.Task[None]] = set()
        self._next = 0.0  # when another reload may begin, on the loop's clock

    def on_signals(self) -> None:
        """Have SIGHUP start a reload. `colo_proxy.cli` has blocked it until now; one that came starts one."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.start)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def start(self) -> None:
        """Reload soon; a signal handler may call it. Signals that come while a reload waits are one.

        A reload waits until the one before is `PAUSE_S` past: a storm of signals costs one a second.
        """
        if self._waiting:
            return
        self._waiting = True
        task = asyncio.create_task(self.reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def reload(self) -> None:
        """Read the file and use what can be used of it. What cannot is told in the log, and harms nothing."""
        loop = asyncio.get_running_loop()
        async with self._order:
            await asyncio.sleep(max(0.0, self._next - loop.time()))
            self._next = loop.time() + PAUSE_S
            self._waiting = False
            service.reloading()
            try:
                read = config.load(self._running.path)
                read.require_one_host()
                await self._use(read)
                self._status.refused(())
            except UserError as error:
                self._refused(*error.lines)
            except BlockingIOError:
                self._refused("the data path is busy; try again")
            finally:
                self._status.ready()

    def _refused(self, *lines: str) -> None:
        for line in lines:
            log.error("not reloaded: %s", line)
        self._status.refused(lines)

    async def _use(self, read: Config) -> None:
        running = self._running
        for key in needing_restart(running, read):
            log.warning("%s: %s has changed and needs a restart; the old value is kept", read.path, key)
        await self._use_policies(read.policies)
        times = {key: getattr(read.checkpoint, key) for key in TIMES}
        self._machine.retime(**times)
        logs.set_up(level=read.log.level, form=read.log.format)
        self._running = dataclasses.replace(
            running,
            policies=read.policies,
            log=read.log,
            checkpoint=running.checkpoint.model_copy(update=times),
        )
        rules = f"{len(read.policies)} {'policy' if len(read.policies) == 1 else 'policies'}"
        log.info("reloaded %s: %s, log level %s", read.path, rules, read.log.level)


def needing_restart(running: Config, read: Config) -> Iterator[str]:
    """The keys that differ and cannot be changed in a running proxy, as users write them."""
    if running.nics != read.nics:
        yield "[[nic]]"
    for section in _SECTIONS:
        old, new = getattr(running, section), getattr(read, section)
        for key in type(old).model_fields:
            if getattr(old, key) != getattr(new, key) and not (section == "checkpoint" and key in TIMES):
                yield f"[{section}] {key}"
