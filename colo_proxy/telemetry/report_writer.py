"""Writes a report of each divergence, beside the event loop: a slow disk delays no checkpoint.

The report's name is known at once, for the event; the file of that name appears, whole, when it has been
written, and only then does the log name it. At most `MAX_WAITING` wait for the disk: a divergence beyond that
gets none.
"""

import asyncio
import logging
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from colo_proxy.capture.report import Report, Reports
from colo_proxy.checkpoint.machine import Machine, State
from colo_proxy.errors import UserError
from colo_proxy.seldom import Seldom
from colo_proxy.vocabulary import Divergence

log = logging.getLogger("colo_proxy.reporting")

MAX_WAITING = 64  # reports, each of two packets and the beginnings of 32 more


class Reporter:
    """The reports of one running proxy. Belongs to the event loop's thread."""

    def __init__(self, directory: str, most: int, machine: Machine) -> None:
        self._reports = Reports(directory, most)
        self._machine = machine
        self._writer = ThreadPoolExecutor(1, "reports")
        self._waiting = 0
        self._failures = 0
        self._told = Seldom(flood=True)
        self._unwritten = 0  # for want of a place in the queue
        self._unwritten_told = Seldom(flood=True)

    async def close(self) -> None:
        """Wait until all is written."""
        await asyncio.to_thread(self._writer.shutdown)

    def report(self, divergence: Divergence) -> Path | None:
        """Have a report written; returns its path, or None where there is to be none."""
        if self._waiting >= MAX_WAITING:
            self._unwritten += 1
            if self._unwritten_told.due(self._unwritten):
                log.warning(
                    "divergences come faster than the disk can write reports; some get no report (%d so far)",
                    self._unwritten,
                )
            return None
        # The data path's clock is CLOCK_MONOTONIC; people and captures count from 1970.
        since_1970 = time.time_ns() - time.monotonic_ns()
        exchanges = tuple(
            replace(
                each, time=each.time + since_1970, fate_time=each.fate_time and each.fate_time + since_1970
            )
            for each in divergence.exchanges
        )
        divergence = replace(divergence, time=divergence.time + since_1970, exchanges=exchanges)
        state = self._machine.state
        # An observer's divergence has begun the next epoch already.
        epoch = self._machine.epoch - (state is State.OBSERVING)
        self._waiting += 1
        loop = asyncio.get_running_loop()
        written = loop.run_in_executor(self._writer, self._write, Report(divergence, epoch, state.label))
        written.add_done_callback(self._written)
        return self._reports.path(divergence)

    def _write(self, report: Report) -> None:
        try:
            path = self._reports.write(report)
        except UserError as error:
            self._failures += 1
            if self._told.due(self._failures):
                log.warning("divergence report: %s (%d have failed)", error, self._failures)
        else:
            log.info("divergence report written: %s", path)

    def _written(self, done: "asyncio.Future[None]") -> None:
        self._waiting -= 1
        if not done.cancelled() and (error := done.exception()):
            log.error("a divergence report failed", exc_info=error)


def prove(directory: str) -> None:
    """See that reports can be written there, and leave nothing. Raises UserError."""
    try:
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise UserError(
            f"[proxy] reports: no file can be created in {directory}: {error.strerror}; make the directory "
            f'(mkdir -p {directory}), name another, or turn reports off with ""'
        ) from None
