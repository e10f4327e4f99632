"""What the record means to a host, in words: what `colo-proxy pair status` prints. No I/O."""

from typing import NamedTuple

from colo_proxy.pair.actions import Note
from colo_proxy.pair.record import Record

STORE_CHANGED = "it was emptied, or restored from an old copy, or it is another store"


class Standing(NamedTuple):
    """`verdict`: `solo`, `pair`, `none`, `old` (an alarm), `stranger` (likewise)."""

    verdict: str
    words: str

    @property
    def alarming(self) -> bool:
        """An operator must look."""
        return self.verdict in ("old", "stranger")


def standing(host: str, peer: str, record: Record | None, note: Note) -> Standing:
    """What it means to `host`, which knows so much, that the store holds this."""
    if record is None:
        if note.highest:
            known = f"this host has known generation {note.highest}"
            return Standing("old", f"the store has no record, but {known}: {STORE_CHANGED}")
        return Standing(
            "none", "there is no record: no host may speak until 'colo-proxy pair init' creates it"
        )
    if record.g < note.highest:
        known = f"this host has known {note.highest}"
        return Standing("old", f"the store holds generation {record.g}, but {known}: {STORE_CHANGED}")
    if record.owner not in (host, peer):
        what = f"the owner is {record.owner!r}, which is neither {host} nor {peer}"
        return Standing("stranger", f"{what}: correct [pair] host and peer_host, or [arbiter] cluster")
    owner, other = (host, peer) if record.owner == host else (peer, host)
    mine = " (this host)" if owner == host else ""
    if record.paired:
        words = (
            f"{owner}{mine} is the primary, and {other} has its replica: if either dies, the other goes on"
        )
        return Standing("pair", words)
    return Standing("solo", f"{owner}{mine} is alone: if it dies, the service stops until it is back")
