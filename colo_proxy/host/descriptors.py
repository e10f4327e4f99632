"""The limit of open files: raised as far as it may be, and too low a one is refused at the start.

Whatever opens descriptors while a proxy runs is bounded: clients, scrapes, peers of ports. So a proxy that
has started does not lack any later, when its VM depends on it.
"""

import resource
from contextlib import suppress

from colo_proxy.errors import HostError


def provide(needed: int) -> None:
    """See that so many files may be open at once. Raises HostError where they may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise HostError(
            f"the limit of open files is {hard}, and the proxy needs {needed}; raise it (ulimit -n {needed}, "
            "LimitNOFILE= in the unit)"
        )
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
