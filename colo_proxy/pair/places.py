"""Where the record of a VM is, by the configuration."""

from colo_proxy.config import Arbiter
from colo_proxy.pair.store import DirectoryPlace, EtcdPlace, Place


def places(arbiter: Arbiter, name: str, *, make: bool = False) -> list[Place]:
    """The record of the VM `name`: the endpoints to ask. `make`: a directory may be made."""
    if arbiter.kind == "directory":
        root = arbiter.path if make else ""
        return [DirectoryPlace(f"{arbiter.path}/{arbiter.cluster}/{name}", root)]
    return _members(arbiter, f"/colo-proxy/1/{arbiter.cluster}/{name}/right")


def trial_places(arbiter: Arbiter, name: str, host: str) -> list[Place]:
    """Where `host` may try whether the store swaps: no right is there."""
    if arbiter.kind == "directory":
        return [DirectoryPlace(f"{arbiter.path}/check.{host}", arbiter.path, scratch=True)]
    return _members(arbiter, f"/colo-proxy/1/{arbiter.cluster}/{name}/check/{host}")


def _members(arbiter: Arbiter, key: str) -> list[Place]:
    files = (arbiter.certificate, arbiter.key, arbiter.authority)
    return [EtcdPlace(endpoint, key, *files) for endpoint in arbiter.endpoints]
