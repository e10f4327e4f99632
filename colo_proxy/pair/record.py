"""The record of the right to speak: one per VM, compared and swapped as a whole.

Its bytes are canonical JSON (UTF-8, keys in this order, no space), so that a store that compares bytes
compares records:

    {"g":12,"mode":"pair","owner":"a","pairing":"6ba7b810-9dad-41d1-80b4-00c04fd430c8","nonce":"..."}

`g`, the generation, grows by one with each write. `owner` is the host that speaks, and whose disk counts.
`pairing` is the pairing that the owner is in (`pair`), or the one that this very write has ended (`solo`;
null where it ended none): who goes on must have the VM of that pairing. `nonce` tells who wrote it, and in
which claim. Records come from a store that others may write to: what is not exactly a record is refused.
"""

import json
import re
from typing import NamedTuple

from colo_proxy.endpoints import HOST_NAME

MAX_BYTES = 512
_MAX_GENERATION = 2**53 - 1  # what every reader of JSON keeps exactly
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_KEYS = ["g", "mode", "owner", "pairing", "nonce"]


class BadRecord(ValueError):
    """These bytes are no record; the message says why, in words for an operator."""


class Record(NamedTuple):
    """What the store holds."""

    g: int
    mode: str  # "solo" or "pair"
    owner: str
    pairing: str | None
    nonce: str

    @property
    def paired(self) -> bool:
        """A secondary may hold the VM of this record's pairing."""
        return self.mode == "pair"


def encode(record: Record) -> bytes:
    """The canonical bytes. Raises BadRecord where `decode` would."""
    _check(record)
    return json.dumps(record._asdict(), separators=(",", ":")).encode()


def decode(data: bytes) -> Record:
    """The record of these bytes, which must be canonical. Raises BadRecord."""
    if len(data) > MAX_BYTES:
        raise BadRecord(f"it has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        # Plain ASCII without escapes is all that a record has, and keeps the parser's recursion shallow.
        pairs = json.loads(data.decode("ascii"), object_pairs_hook=list, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"it is no JSON: {error}") from None
    if not isinstance(pairs, list) or [pair[0] for pair in pairs if isinstance(pair, tuple)] != _KEYS:
        raise BadRecord(f"it is not an object of {', '.join(_KEYS)}, in this order")
    record = Record(*(value for _, value in pairs))
    if encode(record) != data:
        raise BadRecord("it is not in canonical form")
    return record


def _check(record: Record) -> None:
    if type(record.g) is not int or not 0 < record.g <= _MAX_GENERATION:
        raise BadRecord("`g` is not a positive integer")
    if record.mode not in ("solo", "pair"):
        raise BadRecord("`mode` is neither solo nor pair")
    if not isinstance(record.owner, str) or not HOST_NAME.fullmatch(record.owner):
        raise BadRecord("`owner` is not the name of a host")
    if not _is_uuid(record.pairing) and not (record.pairing is None and not record.paired):
        raise BadRecord("`pairing` is not a UUID")
    if not _is_uuid(record.nonce):
        raise BadRecord("`nonce` is not a UUID")


def _is_uuid(value: object) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a value of a record")
