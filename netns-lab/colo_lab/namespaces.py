"""Network namespaces as context managers, and processes that live in them."""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pyroute2 import IPRoute

from . import kernel
from .waiting import Deadline, wait_exit


class Namespace:
    """A network namespace of the lab's own: it ends with this object and the processes put in it."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self._environment = dict(environment)
        self._stack = ExitStack()
        self.fd = kernel.new_namespace()
        self._stack.callback(os.close, self.fd)
        with kernel.inside(self.fd):
            self.route = self._stack.enter_context(IPRoute())
        self.route.link("set", index=self.index("lo"), state="up")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def index(self, device: str) -> int:
        """The interface index of a device here. Raises LookupError where there is none."""
        found = self.route.link_lookup(ifname=device)
        if not found:
            raise LookupError(f"{self.name}: no interface {device}")
        return int(found[0])

    def devices(self) -> list[str]:
        return [link.get_attr("IFLA_IFNAME") for link in self.route.get_links()]

    def sysctl(self, values: Mapping[str, str | int]) -> None:
        """Set `net.*` values of this namespace; keys as in /proc/sys/net, with slashes."""
        with kernel.inside(self.fd):  # /proc/sys/net shows the calling thread's namespace
            for key, value in values.items():
                Path("/proc/sys/net", key).write_text(str(value))

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in this namespace, whatever thread uses it."""
        with kernel.inside(self.fd):
            return socket.socket(family, kind, protocol)

    def popen(self, argv: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Start a program in this namespace. It dies with the thread that called this."""
        environment = {**self._environment, **options.pop("env", {})}
        with kernel.inside(self.fd):
            return subprocess.Popen(
                argv,
                env=environment,
                preexec_fn=kernel.die_with_parent,  # noqa: PLW1509 - one system call, resolved beforehand
                **options,
            )

    @contextmanager
    def running(self, argv: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
        """A program in this namespace that is ended, politely and then not, when the context ends."""
        process = self.popen(argv, **options)
        try:
            yield process
        finally:
            end(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()


def end(process: "subprocess.Popen[bytes]", seconds: float = 3.0) -> None:
    """Ask a process to end; kill it when it has not after `seconds`."""
    if process.poll() is None:
        process.terminate()
        if not wait_exit(process.pid, Deadline(seconds)):
            process.kill()
    process.wait()
