"""The record is created, once: `colo-proxy pair init`."""

import asyncio
from uuid import uuid4

from colo_proxy.config import TwoHosts
from colo_proxy.errors import Refused, Unreachable
from colo_proxy.pair import note as notes
from colo_proxy.pair.actions import Note, Read, Swap
from colo_proxy.pair.arbiter import Reply, ask_once
from colo_proxy.pair.places import places
from colo_proxy.pair.record import Record
from colo_proxy.pair.standing import standing
from colo_proxy.pair.store import StoreError

WITHIN_S = 10.0


def found(two: TwoHosts, name: str) -> Record:
    """Create the record with this host as the owner, alone; the other host is switched off.

    Raises Refused where there is one, or was; Unreachable where the store does not answer; NoteError.
    """
    pair = two.pair
    with notes.alone(pair.state_dir):
        known = notes.read(pair.state_dir)
        record = _ask(two, name, Read("read")).record
        if record is not None or known.highest:
            what = standing(pair.host, pair.peer_host, record, known).words
            raise Refused(f"there is a record already, or was one: {what}; nothing was changed")
        new = Record(1, "solo", pair.host, None, str(uuid4()))
        record = _ask(two, name, Swap("create", None, new)).record
        if record is None or record.nonce != new.nonce:
            raise Refused("another process has created the record just now; see 'colo-proxy pair status'")
        notes.keep(pair.state_dir, Note(record.g, record.nonce, 0))
        return record


def look(two: TwoHosts, name: str) -> Reply:
    """What the store holds. Raises Unreachable."""
    return _ask(two, name, Read("read"), make=False)


def _ask(two: TwoHosts, name: str, question: Read | Swap, *, make: bool = True) -> Reply:
    try:
        return asyncio.run(ask_once(places(two.arbiter, name, make=make), question, WITHIN_S))
    except StoreError as error:
        what = f"the arbiter does not answer: {error}"
        if two.arbiter.kind == "directory":
            what += f"; mount {two.arbiter.path} ('colo-proxy pair init' makes what is below it)"
        if isinstance(question, Swap):
            what += "; the record may be created all the same: see 'colo-proxy pair status'"
        raise Unreachable(what) from None
