"""What runs while a proxy runs: the data path in its thread, and the tasks of the control thread.

Whichever ends by itself is a fault: better to stop than to go on half alive. `Stop` is how that, a signal or
`quit` ends a proxy.
"""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping

from colo_proxy.checkpoint.coordinator import Coordinator
from colo_proxy.errors import UserError

log = logging.getLogger("colo_proxy.running")


class Stop:
    """Called by whoever wants the end, with the error if there is one; the first call counts."""

    def __init__(self) -> None:
        self._said: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __call__(self, error: BaseException | None = None) -> None:
        if not self._said.done():
            self._said.set_exception(error) if error else self._said.set_result(None)

    def on_signals(self) -> None:
        """Have SIGTERM and SIGINT say it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self)

    async def wait(self) -> None:
        """Return when it has been said. Raises the error."""
        await self._said


@contextlib.asynccontextmanager
async def turning(coordinator: Coordinator, stop: Stop) -> AsyncIterator[None]:
    """Meanwhile the data path turns in a thread of its own, and the coordinator hears it."""
    loop = asyncio.get_running_loop()

    def turn() -> None:
        error: BaseException | None = None
        try:
            coordinator.engine.run()
        except Exception as caught:
            log.exception("the data path failed")
            error = UserError(f"the data path failed: {caught}")
        with contextlib.suppress(RuntimeError):  # the loop is closed: we are stopping anyway
            loop.call_soon_threadsafe(stop, error)

    thread = threading.Thread(target=turn, name="data path")
    coordinator.start()
    thread.start()
    try:
        yield
    finally:
        coordinator.engine.stop()
        await asyncio.to_thread(thread.join)
        coordinator.close()


@contextlib.asynccontextmanager
async def tended(work: Mapping[str, Coroutine[None, None, None]], stop: Stop) -> AsyncIterator[None]:
    """Meanwhile these run, by their names; in the end they are cancelled."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            error = task.exception()
            log.error("the %s ended: %s", task.get_name(), error, exc_info=error)
            stop(UserError(f"the {task.get_name()} ended: {error}"))

    tasks = [asyncio.create_task(each, name=name) for name, each in work.items()]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
