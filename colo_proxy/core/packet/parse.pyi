"""The packet view as tests and tools see it; the data path uses parse.pxd."""

from typing import TypedDict

KINDS: tuple[str, ...]

class _Dissected(TypedDict):
    kind: str  # one of KINDS
    size: int
    end: int
    l3: int
    l4: int
    payload: int
    vlan: int
    ethertype: int
    version: int
    proto: int
    flags: int
    window: int
    seq: int
    ack: int
    length: int
    urgent: int
    mss: int
    wscale: int
    sack_permitted: int
    others: int
    signature: int
    multipath: int
    sack_blocks: int
    timestamps: int
    sack: int
    frag_id: int
    frag_offset: int
    frag_more: int
    frag_data: int
    partial: int

def dissect(frame: bytes, vnet: bytes | None = None) -> _Dissected: ...
