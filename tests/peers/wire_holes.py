"""What goes wrong not between two frames but on a comparator's sockets: peers that stall, go, come back, lie.

A hole is played over the sockets of a program; it answers with what was not as it should be.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from .scenarios import udp
from .sockets import Comparator, message, until

MANY = 400
RECEIVED_S = 0.3  # for what must have been taken in, or will not be


@dataclass(frozen=True)
class Hole:
    """`play` returns the faults, none where all is right."""

    name: str
    right: str
    play: Callable[[Comparator], list[str]]
    vnet: bool = False


def _both(comparator: Comparator, *frames: bytes) -> None:
    comparator.say("primary", *frames)
    comparator.say("secondary", *frames)


def _left(comparator: Comparator, *frames: bytes) -> list[str]:
    """Wait until these, and no others, have left in this order."""
    if until(lambda: comparator.out.messages[: len(frames)] == list(frames), 3):
        time.sleep(0.05)
        return [] if comparator.out.messages == list(frames) else ["frames are released twice"]
    missing = sum(frame not in comparator.out.messages for frame in frames)
    return [f"{missing} of {len(frames)} never released"] if missing else ["order not kept"]


def _stalled_output(comparator: Comparator) -> list[str]:
    frames = [udp(n.to_bytes(2) + bytes(1400), 40000 + n) for n in range(MANY)]
    comparator.out.rest()
    for frame in frames:
        _both(comparator, frame)
    time.sleep(2 * RECEIVED_S)
    comparator.out.go_on()
    return _left(comparator, *frames)


def _absent_output(comparator: Comparator) -> list[str]:
    comparator.hang_up("out")
    time.sleep(RECEIVED_S)
    _both(comparator, udp(b"one"))
    time.sleep(RECEIVED_S)
    comparator.listen_again()
    return _left(comparator, udp(b"one"))


def _reconnected(comparator: Comparator, last_words: bytes) -> list[str]:
    comparator.ends["primary"].sendall(last_words)
    time.sleep(RECEIVED_S)
    comparator.hang_up("primary")
    comparator.connect("primary")
    time.sleep(RECEIVED_S)
    _both(comparator, udp(b"one"))
    return _left(comparator, udp(b"one"))


def _half_a_frame(comparator: Comparator) -> list[str]:
    return _reconnected(comparator, comparator.framed(udp(b"half of this"))[:30])


def _oversized(comparator: Comparator) -> list[str]:
    return _reconnected(comparator, (1 << 30).to_bytes(4))


def _at_once(comparator: Comparator) -> list[str]:
    for _ in range(5):
        comparator.hang_up("secondary")
        comparator.connect("secondary")
    _both(comparator, udp(b"one"))
    return _left(comparator, udp(b"one"))


def _notify_with_vnet(comparator: Comparator) -> list[str]:
    faults = [] if comparator.notify.messages == [b"COLO_COMPARE_GET_XEN_INIT"] else ["INIT is not answered"]
    comparator.say("primary", udp(b"one"))
    comparator.say("secondary", udp(b"two"))
    if not until(comparator.requests, 8):
        return [*faults, "no checkpoint is requested"]
    comparator.commit()
    return faults + _left(comparator, udp(b"one"))


def _notify_half(comparator: Comparator) -> list[str]:
    comparator.ends["notify"].sendall(message(b"COLO_CHECKPOINT")[:9])
    comparator.hang_up("notify")
    time.sleep(RECEIVED_S)
    comparator.ask_again()
    return [] if until(lambda: b"COLO_COMPARE_GET_XEN_INIT" in comparator.notify.messages) else ["no answer"]


HOLES = (
    Hole(f"the output stalls for a moment while {MANY} datagrams are released", "in order", _stalled_output),
    Hole(
        "no peer at the output when a datagram is released; then one connects", "it is sent", _absent_output
    ),
    Hole("half a frame, then a reconnect", "whole frames again", _half_a_frame),
    Hole("a frame of 1 GiB is announced, then a reconnect", "whole frames again", _oversized),
    Hole("an input hangs up and is back at once, five times", "whole frames again", _at_once),
    Hole(
        "`notify_dev` and virtio-net headers", "INIT is answered, a checkpoint made", _notify_with_vnet, True
    ),
    Hole("half a message of libxl's, then a reconnect", "whole messages again", _notify_half),
)
