"""The whole laboratory: network, PVM and SVM, as one context."""

import os
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

from . import kernel
from .errors import Missing
from .impairments import Impairments
from .markers import Run
from .namespaces import Namespace
from .replica.arena import create as create_arena
from .topology import Topology, Uplink
from .vm import Vm, running
from .wires import Wires, impaired


def best_uplink() -> Uplink:
    """A TAP where /dev/net/tun may be opened, else a veth pair."""
    return Uplink.TAP if kernel.may_make_taps() else Uplink.PACKET


class Lab:
    """A client, a host, a PVM and an SVM with their servers running; gone at the end of the context.

    The servers serve the same content for the same `seed`. The context must be entered by the thread that
    lives longest (the main thread): the kernel ends the lab's processes together with it.
    With `impairments` every direction of every cable suffers them, and `wires` tells what became of frames.
    """

    def __init__(
        self,
        *,
        uplink: Uplink = Uplink.TAP,
        nics: int = 1,
        seed: int = 0,
        impairments: Impairments | None = None,
    ) -> None:
        if uplink is Uplink.TAP and not kernel.may_make_taps():
            raise Missing(f"{kernel.TUN} cannot be opened: use packet endpoints, or run as root")
        self._uplink, self._nics, self._seed = uplink, nics, seed
        self._impairments = impairments
        self.wires: Wires | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            self.run = stack.enter_context(Run())
            self.topology = stack.enter_context(
                Topology(
                    self.run.environment,
                    uplink=self._uplink,
                    nics=self._nics,
                    impairable=self._impairments is not None,
                )
            )
            if self.topology.wires and self._impairments:
                self.wires = stack.enter_context(
                    impaired(self.topology.wires, self.topology.cut, self._impairments)
                )
            arena = create_arena()
            stack.callback(os.close, arena)
            self.pvm = stack.enter_context(self._vm(self.topology.pvm, "primary", arena))
            self.svm = stack.enter_context(self._vm(self.topology.svm, "secondary", arena))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _vm(self, namespace: Namespace, port: str, arena: int) -> AbstractContextManager[Vm]:
        ports = [(nic, getattr(nic, port)) for nic in self.topology.nics]
        drain = self.wires.flush if self.wires else None
        return running(namespace, self.topology.host, ports, arena, seed=self._seed, drain=drain)
