"""The lab's VMM, on the proxy's control socket: checkpoints when asked, failover when told.

A checkpoint, in this order:
1. the SVM stops, then the PVM; frames that arrive from now on wait for both;
2. `checkpoint-begin`: the proxy drains both ports and answers;
3. the PVM's state is copied into the SVM;
4. `checkpoint-commit`: the proxy lets the PVM's held output go and answers;
5. the SVM goes on, then the PVM.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from .control import Disconnected
from .errors import LabError
from .proxy import Proxy
from .vm import Vm
from .waiting import Deadline

_FOREVER = 1e6  # s


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What one checkpoint was for and how long it took, in ms."""

    reason: str
    flow: str | None
    stream_offset: int | None
    total_ms: float
    connections: int
    lost: int
    frames: int  # that had been waiting for the VMs
    committed: int  # when `checkpoint-commit` was said, CLOCK_REALTIME in ns


def stop_both(pvm: Vm, svm: Vm) -> None:
    """Stop the SVM, then the PVM. Frames wait for both from the moment the PVM has stopped: what only the
    SVM missed before is part of the state that it is about to get."""
    svm.stop()
    pvm.stop()
    pvm.keep_frames()
    svm.keep_frames()


def copy_state(pvm: Vm, svm: Vm) -> dict[str, int]:
    """Stop both and make the SVM the PVM; both stay stopped. Returns what was carried and what lost."""
    stop_both(pvm, svm)
    return _copy(pvm, svm)


def _copy(pvm: Vm, svm: Vm) -> dict[str, int]:
    state = pvm.dump()
    loaded = svm.load(state)
    return {"connections": loaded["connections"], "lost": loaded["lost"] + state["lost"]}


def stamp(event: dict[str, Any]) -> int:
    """When the proxy says that an event happened, CLOCK_REALTIME in ns."""
    at = event["timestamp"]
    return int(at["seconds"]) * 1_000_000_000 + int(at["microseconds"]) * 1000


class Vmm:
    """Serves one proxy in a thread of its own, through its restarts, until the context ends.

    `watch` is called with each event and each Checkpoint, in that thread.
    """

    def __init__(
        self,
        proxy: Proxy,
        pvm: Vm,
        svm: Vm,
        *,
        watch: Callable[[dict[str, Any] | Checkpoint], None] = lambda _: None,
    ) -> None:
        self._proxy, self._pvm, self._svm, self._watch = proxy, pvm, svm, watch
        self.checkpoints: list[Checkpoint] = []
        self.events: list[dict[str, Any]] = []
        self.sessions = 0  # connections to the proxy so far
        self.error: Exception | None = None
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._failing_over = False
        self._busy = threading.Lock()  # a checkpoint or a failover, not both
        self._control = proxy.connect()
        self._thread = threading.Thread(target=self._serve, name="vmm", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._control.wake()
        self._thread.join(15)
        self._control.close()

    def wait(self, done: Callable[[Self], bool], seconds: float, what: str) -> None:
        """Return when `done(self)` is true; asked again after each event and checkpoint. Raises LabError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.error or done(self), seconds):
                raise LabError(f"{what}: not within {seconds:g} s")
        if self.error:
            raise LabError(f"the lab's VMM failed: {self.error}") from self.error

    def settle(self, seconds: float = 10) -> None:
        """Return when no checkpoint is wanted or under way. Raises LabError."""
        deadline = time.monotonic() + seconds
        with self._proxy.connect() as control:
            while True:
                with self._busy:
                    if control.execute("query-status")["state"] not in ("requested", "stopped"):
                        return
                if time.monotonic() > deadline:
                    raise LabError(f"a checkpoint is wanted, and not made within {seconds:g} s")
                time.sleep(0.01)

    def fail_over(self) -> None:
        """The PVM loses power and the SVM takes over, over a control connection of its own."""
        with self._busy, self._proxy.connect() as control:
            self._failing_over = True
            self._pvm.power_off()
            control.execute("failover")

    def _serve(self) -> None:
        try:
            while not self._ending.is_set():
                try:
                    self._session()
                except Disconnected:
                    self._reconnect()
        except Exception as error:  # told to whoever waits
            if not self._ending.is_set() and not self._failing_over:
                with self._changed:
                    self.error = error
                    self._changed.notify_all()

    def _session(self) -> None:
        self.sessions += 1
        self._control.execute("vmm-ready")
        status = self._control.execute("query-status")
        epoch = status["epoch"]
        if status["state"] == "requested":
            epoch = self._checkpoint({"reason": status.get("reason") or "start"})
        while True:
            event = self._control.event(Deadline(_FOREVER))
            self._tell(event)
            data = event.get("data", {})
            if event["event"] == "CHECKPOINT_REQUEST" and data["epoch"] >= epoch:
                epoch = self._checkpoint(data)

    def _reconnect(self) -> None:
        self._control.close()
        while not self._ending.is_set():
            try:
                self._control = self._proxy.connect(0.1)
                return
            except LabError:
                continue  # the proxy is not back yet

    def _checkpoint(self, request: dict[str, Any]) -> int:
        """One checkpoint; returns the new epoch. The VMs go on even where the proxy has died meanwhile."""
        with self._busy:
            if not self._failing_over:
                self._tell(self._checkpoint_now(request))
        return int(self._control.execute("query-status")["epoch"])

    def _checkpoint_now(self, request: dict[str, Any]) -> Checkpoint:
        began = time.monotonic()
        stop_both(self._pvm, self._svm)
        try:
            self._control.execute("checkpoint-begin")
            carried = _copy(self._pvm, self._svm)
            committed = time.time_ns()
            self._control.execute("checkpoint-commit")
        finally:
            frames = self._svm.go() + self._pvm.go()
        ended = time.monotonic()
        return Checkpoint(
            reason=request["reason"],
            flow=request.get("flow"),
            stream_offset=request.get("stream_offset"),
            total_ms=(ended - began) * 1e3,
            frames=frames,
            committed=committed,
            **carried,
        )

    def _tell(self, news: dict[str, Any] | Checkpoint) -> None:
        with self._changed:
            (self.checkpoints if isinstance(news, Checkpoint) else self.events).append(news)  # type: ignore[arg-type]
            self._changed.notify_all()
        self._watch(news)
