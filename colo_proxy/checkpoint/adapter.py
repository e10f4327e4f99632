"""What a VMM adapter is to the proxy, and what the proxy is to it.

An adapter turns what its VMM does into events (events.py) and says them, in order, with `Vmm.say`; it turns
`RequestCheckpoint` and `FailedOver` into whatever its VMM understands. It never touches the data path.
"""

from typing import Protocol

from colo_proxy.checkpoint.commands import FailedOver, RequestCheckpoint
from colo_proxy.checkpoint.events import Event


class Proxy(Protocol):
    """The proxy, as an adapter sees it."""

    async def say(self, *events: Event) -> None:
        """Tell the checkpoint machine, one event after the other.

        Returns when the data path has done what follows from them. Raises IllegalWord at the first event that
        the state does not allow; those before it have been done.
        """


class Adapter(Protocol):
    """One kind of VMM."""

    @property
    def connected(self) -> dict[str, bool]:
        """By side (`primary`, `secondary`, or the VMM's own name): can it be reached now?"""

    async def run(self, proxy: Proxy) -> None:
        """Follow the VMM until cancelled. A lost connection is the adapter's to restore, not an error."""

    def request(self, request: RequestCheckpoint) -> None:
        """Ask the VMM for a checkpoint; it is repeated by the machine. Must not wait."""

    def fail_over(self, failover: FailedOver) -> None:
        """The SVM is the service now: tell the VMM. Must not wait."""
