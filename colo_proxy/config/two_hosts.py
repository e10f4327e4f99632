"""What takes two keys or two sections to judge in a configuration with `[pair]`.

Each function yields the place of a key and what is wrong there.
"""

from collections.abc import Iterator

from colo_proxy.config.sections import Arbiter, Checkpoint, Pair

_Faults = Iterator[tuple[tuple[str, ...], str]]
_FILES = ("certificate", "key", "authority")
PATIENCE = 3  # heartbeats that must fit into timeout_ms: one may be late


def pair_faults(pair: Pair) -> _Faults:
    """Of `[pair]`."""
    if pair.host == pair.peer_host:
        yield ("pair", "peer_host"), f"{pair.peer_host!r} is this host; give the other host's name"
    if pair.listen == pair.peer:
        yield ("pair", "peer"), "is this host's own address; give the other host's"
    if pair.heartbeat_ms * PATIENCE > pair.timeout_ms:
        most = pair.timeout_ms // PATIENCE
        yield (
            ("pair", "heartbeat_ms"),
            f"{pair.heartbeat_ms} is more than a third of timeout_ms, {pair.timeout_ms}; "
            f"lower it to {most} or raise the other",
        )
    for key in _FILES:
        given = bool(getattr(pair, key))
        if not given and not pair.insecure:
            yield ("pair", key), "missing; add the path of a PEM file (the link is encrypted)"
        if given and pair.insecure:
            yield ("pair", key), "has no meaning with insecure = true; remove one of them"


def arbiter_faults(arbiter: Arbiter) -> _Faults:
    """Of `[arbiter]`."""
    if arbiter.kind == "directory":
        if not arbiter.path:
            yield ("arbiter", "path"), 'missing; kind = "directory" needs a directory that both hosts share'
        for key in ("endpoints", *_FILES):
            if getattr(arbiter, key):
                yield ("arbiter", key), 'has no meaning with kind = "directory"; remove it'
        return
    if not arbiter.endpoints:
        yield ("arbiter", "endpoints"), 'missing; kind = "etcd" needs the addresses of its members'
        return
    if arbiter.path:
        yield ("arbiter", "path"), 'has no meaning with kind = "etcd"; remove it'
    encrypted = any(endpoint.startswith("https:") for endpoint in arbiter.endpoints)
    for key in _FILES:
        if encrypted and not getattr(arbiter, key):
            yield ("arbiter", key), "missing; an https endpoint needs the path of a PEM file"
        if not encrypted and getattr(arbiter, key):
            yield ("arbiter", key), "has no meaning without an https endpoint; remove it"


def vmm_faults(checkpoint: Checkpoint) -> _Faults:
    """Of `[checkpoint]`: how this host's VM is reached."""
    if checkpoint.vmm not in ("qmp", "control"):
        yield (
            ("checkpoint", "vmm"),
            f'"{checkpoint.vmm}" serves one host only; with [pair] write qmp or control',
        )
    for key in ("primary", "secondary"):
        if getattr(checkpoint, key) is not None:
            yield ("checkpoint", key), "has no meaning with [pair]; write vm, the socket of this host's VM"
    if checkpoint.notify_dev is not None:
        yield ("checkpoint", "notify_dev"), "has no meaning with [pair]; remove it"
    if checkpoint.vmm == "qmp" and checkpoint.vm is None:
        yield ("checkpoint", "vm"), 'missing; vmm = "qmp" needs a unix: or tcp: socket of this host\'s VM'
    if checkpoint.vmm != "qmp" and checkpoint.vm is not None:
        yield ("checkpoint", "vm"), f'has no meaning with vmm = "{checkpoint.vmm}"; remove it'
