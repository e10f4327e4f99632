"""The reference for SACK blocks in what leaves: docs/comparison.md, T4a.

Edges are integers that grow across 2**32, as acknowledgements are in tcp.py. What a guest has SACKed is a
list of (left, right) in order, none touching another.
"""

import struct

from models.packets import SYN, Packet, raw_options, sack_options

Block = tuple[int, int]
FAR = 2**30


def near(number: int, reference: int) -> int:
    """The integer closest to `reference` that equals `number` modulo 2**32."""
    return reference + (number - reference + 2**31) % 2**32 - 2**31


def noted(sacked: list[Block], segment: Packet, ack: int) -> list[Block]:
    """What is SACKed beyond `ack`, after this segment of a guest that has acknowledged up to there."""
    for _, blocks in sack_options(raw_options(segment)):
        for one, other in blocks:
            right = near(other, ack)
            left = right - (other - one) % 2**32
            if right - left < 2**31 and ack < right <= ack + FAR:
                sacked = [*sacked, (max(left, ack), right)]
    return joined([(max(left, ack), right) for left, right in sacked if right > ack])


def new_in(sacked: list[Block], segment: Packet, ack: int) -> list[Block]:
    """What this segment of a guest SACKs beyond `ack` that it has not SACKed before."""
    found: list[Block] = []
    for left, right in noted([], segment, ack):
        at = left
        for begin, end in sacked:
            if begin < right and at < end:
                if at < begin:
                    found.append((at, begin))
                at = end
        if at < right:
            found.append((at, right))
    return found


def received(blocks: list[Block], sacked: list[Block], ack: int) -> bool:
    """Has a guest that has acknowledged and SACKed this received any of these blocks?"""
    beyond = [(left, right) for left, right in sacked if right > ack]
    return any(
        left < ack or any(begin < right and left < end for begin, end in beyond) for left, right in blocks
    )


def joined(blocks: list[Block]) -> list[Block]:
    """Blocks in order; those that touch are one."""
    found: list[Block] = []
    for left, right in sorted(blocks):
        if found and left <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], right))
        else:
            found.append((left, right))
    return found


def common(block: Block, sacked: list[Block], ack: int) -> Block | None:
    """The longest part of a block, the first of equals, that was acknowledged or SACKed, if any was."""
    left, right = block
    if left == right or right - left >= 2**31:
        return None
    if right <= ack:
        return block
    parts = [(left, ack)]
    if right <= ack + FAR:
        parts += [(max(left, ack, begin), min(right, end)) for begin, end in sacked]
    best = max(parts, key=lambda part: part[1] - part[0])
    return best if best[1] > best[0] else None


def option_of(segment: Packet, sacked: list[Block], ack: int, room: int) -> bytes:
    """A SACK option of the segment's blocks, each cut to what a guest has acknowledged and SACKed."""
    found = []
    for _, blocks in sack_options(raw_options(segment)):
        for one, other in blocks:
            right = near(other, ack)
            found.append((right - (other - one) % 2**32, right))
    parts = [common(block, sacked, ack) for block in found]
    return option_with([part for part in parts if part is not None], room)


def shared(mine: list[Block], other: list[Block]) -> list[Block]:
    """What is in a block of both, the highest first."""
    parts = [(max(a, c), min(b, d)) for a, b in mine for c, d in other]
    return sorted((part for part in parts if part[0] < part[1]), reverse=True)


def option_with(blocks: list[Block], room: int) -> bytes:
    """A SACK option of the first of these blocks, as many as there is room for."""
    kept = b""
    for left, right in blocks[: (room - 4) // 8]:
        kept += struct.pack("!II", left % 2**32, right % 2**32)
    return bytes([1, 1, 5, 2 + len(kept)]) + kept if kept else b""


def cut(segment: Packet, sacked: list[Block], ack: int) -> bytes:
    """The segment's options with no more SACKed than an SVM that has acknowledged and SACKed this."""
    options = bytearray(raw_options(segment))
    if segment.flags & SYN:
        return bytes(options)
    for at, blocks in sack_options(bytes(options)):
        kept = b""
        for one, other in blocks:
            right = near(other, ack)
            part = common((right - (other - one) % 2**32, right), sacked, ack)
            if part is not None:
                kept += struct.pack("!II", part[0] % 2**32, part[1] % 2**32)
        size = 2 + 8 * len(blocks)
        new = bytes([5, 2 + len(kept)]) + kept if kept else b""
        options[at : at + size] = new + b"\1" * (size - len(new))
    return bytes(options)
