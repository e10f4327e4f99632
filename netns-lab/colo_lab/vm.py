"""A virtual machine of the lab: a namespace with its kernel TCP stack, its NICs, and a server in it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from .addresses import Nic as Names
from .errors import LabError
from .namespaces import Namespace, end
from .nic import Nic
from .replica.channel import Channel
from .waiting import Deadline, wait_readable


class Vm:
    """PVM or SVM. `stop` and `go` act on everything at once: server, sockets and NICs."""

    def __init__(
        self,
        name: str,
        process: "subprocess.Popen[bytes]",
        channel: Channel,
        nics: Sequence[Nic],
        drain: Callable[[], None] | None,
    ) -> None:
        self.name = name
        self.process = process
        self._channel = channel
        self._nics = nics
        self._drain = drain
        self._answer("ready", Deadline(10))

    def stop(self) -> None:
        """The server touches no socket any more, and nothing moves through the NICs, or is on its way."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)  # a VMM can stop a VM whose guest hangs
        self._ask("stop", "stopped")
        for nic in self._nics:
            nic.stop()
        if self._drain:
            self._drain()

    def keep_frames(self) -> None:
        """Frames that arrive while the VM is stopped wait for it from now on."""
        for nic in self._nics:
            nic.keep()

    def dump(self) -> dict[str, Any]:
        """The state of the stopped VM: connections, application, generator. Built-in types."""
        self._channel.send(("dump", None))
        return dict(self._receive(Deadline(10)))

    def load(self, state: dict[str, Any]) -> dict[str, int]:
        """Make this stopped VM the one the state was read from; returns what was carried and what lost."""
        self._channel.send(("load", state))
        return dict(self._receive(Deadline(10)))

    def go(self) -> int:
        """Run again; returns how many frames had been waiting."""
        self._channel.send(("go", None))
        frames = sum(nic.go() for nic in self._nics)
        self._answer("going", Deadline(10))
        return frames

    def power_off(self) -> None:
        """Gone between two instructions: not even the kernel says goodbye to the clients."""
        for nic in self._nics:
            nic.stop()
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        """Stop the server (not its kernel) with SIGSTOP."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def fault(self, *, flip: int | None = None, delay: float = 0.0) -> None:
        """Set this replica's faults (replica/server.py, Faults); without arguments, none."""
        self._channel.send(("fault", {"flip": flip, "delay": delay}))
        self._answer("ok", Deadline(5))

    def report(self) -> dict[str, Any]:
        self._channel.send(("report",))
        return dict(self._receive(Deadline(5)))

    def _ask(self, word: str, answer: str) -> None:
        self._channel.send((word,))
        self._answer(answer, Deadline(10))

    def _answer(self, expected: str, deadline: Deadline) -> None:
        got = self._receive(deadline)
        assert got == expected, f"{self.name}: {got!r} instead of {expected!r}"

    def _receive(self, deadline: Deadline) -> Any:
        wait_readable(self._channel.fileno(), deadline, f"the server of the {self.name}")
        try:
            return self._channel.receive()
        except EOFError:
            raise LabError(f"the server of the {self.name} has died") from None


@contextmanager
def running(
    namespace: Namespace,
    host: Namespace,
    ports: Sequence[tuple[Names, str]],
    arena: int,
    *,
    seed: int = 0,
    drain: Callable[[], None] | None = None,
) -> Iterator[Vm]:
    """A VM in `namespace` whose NICs are connected to these ports of the host.

    `arena` is a descriptor that it shares with its peer (replica/arena.py). `drain` returns when nothing is
    on its way between VM and host any more.
    """
    ours, theirs = socket.socketpair()
    nics = []
    process = None
    try:
        for names, port in ports:
            nics.append(Nic(namespace, names.device, host, port))
        arguments = {"--channel": theirs.fileno(), "--arena": arena, "--seed": seed}
        process = namespace.popen(
            [
                sys.executable,
                "-m",
                "colo_lab.replica",
                *(str(word) for pair in arguments.items() for word in pair),
            ],
            pass_fds=[theirs.fileno(), arena],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        yield Vm(namespace.name, process, Channel(ours), nics, drain)
    finally:
        ours.close()
        theirs.close()
        if process is not None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            end(process)
        for nic in nics:
            nic.close()
