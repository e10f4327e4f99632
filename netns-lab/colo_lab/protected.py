"""A lab with the proxy in it and a VMM beside it, from the first checkpoint on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .impairments import Impairments
from .lab import Lab, best_uplink
from .proxy import Proxy
from .topology import Uplink
from .vmm import Checkpoint, Vmm


@dataclass(frozen=True, slots=True)
class Protected:
    """Everything at hand: the machines, the proxy, the VMM."""

    lab: Lab
    proxy: Proxy
    vmm: Vmm

    @property
    def later(self) -> list[str]:
        """The reasons of all checkpoints but the first, which every start needs; waits for one under way."""
        self.vmm.settle()
        return [checkpoint.reason for checkpoint in self.vmm.checkpoints[1:]]


@contextmanager
def protected(
    *,
    uplink: Uplink | None = None,
    nics: int = 1,
    watch: Callable[[dict[str, Any] | Checkpoint], None] = lambda _: None,
    reports: bool = False,
    impairments: Impairments | None = None,
    **sections: Any,
) -> Iterator[Protected]:
    """Bring a proxied lab up and wait until it is protected.

    `sections` are added to the proxy's configuration, and with `reports` a directory for its reports;
    `watch` is the Vmm's, `impairments` are the Lab's. Raises LabError.
    """
    with (
        Lab(uplink=uplink or best_uplink(), nics=nics, impairments=impairments) as lab,
        Proxy(lab, reports=reports, **sections) as proxy,
        Vmm(proxy, lab.pvm, lab.svm, watch=watch) as vmm,
    ):
        vmm.wait(lambda vmm: bool(vmm.checkpoints), 10, "the first checkpoint")
        yield Protected(lab, proxy, vmm)
