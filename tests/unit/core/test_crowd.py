"""With many flows the loop looks ahead in the flow table; what is released is the same as frame by frame."""

import time
from random import Random
from select import select

import pytest
from unit.core.test_bounds import ACK, SYN, segment
from unit.engine.ports.test_qemu_socket import wire
from unit.engine.test_engine import Bench

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Frame, Mode, Port

CLIENTS = 3000  # more than the loop takes for few
BUSY = 12  # of them, so that a batch has several segments of each, opened anew in between


def conversation() -> list[bytes]:
    """What a guest says: all connections open, then the busy ones talk, and are opened again and again."""
    draw = Random(6)
    isn = dict.fromkeys(range(CLIENTS), 1000)
    said = opened()
    at = dict.fromkeys(isn, 1001)
    for _ in range(6000):
        client = draw.randrange(BUSY) if draw.random() < 0.7 else draw.randrange(CLIENTS)
        if draw.random() < 0.2:
            isn[client] += 100_000
            at[client] = isn[client] + 1
            said.append(segment(isn[client], SYN | ACK, client=client))
        else:
            said.append(segment(at[client], data=client.to_bytes(2), client=client))
            at[client] += 2
    return said


def opened() -> list[bytes]:
    return [segment(1000, SYN | ACK, client=client) for client in range(CLIENTS)]


@pytest.mark.parametrize("chunk", [7, 200, 9000])
def test_what_is_looked_up_ahead_changes_nothing(chunk: int) -> None:
    """The guests take turns, so each of them opens connections before the other does."""
    said = conversation()
    turns = []
    for begin in range(0, len(said), chunk):
        both = [("pvm", said[begin : begin + chunk]), ("svm", said[begin : begin + chunk])]
        turns += both[:: 1 if begin // chunk % 2 else -1]
    comparator = Comparator()
    for who, frames in turns:
        for frame in frames:
            (comparator.primary if who == "pvm" else comparator.secondary)(frame, 0)
    expected = b"".join(wire(item.data) for item in comparator.take() if isinstance(item, Frame))
    got = b""
    heard = {"pvm": 0, "svm": 0}
    with Bench(mode=Mode.COMPARE) as bench:
        for who, frames in turns:
            getattr(bench, who).sendall(b"".join(map(wire, frames)))
            heard[who] += len(frames)
            port = Port.PRIMARY if who == "pvm" else Port.SECONDARY
            while bench.engine.snapshot()[0].ports[port].received < heard[who]:
                time.sleep(0)
            while select([bench.uplink], [], [], 0)[0]:
                got += bench.uplink.recv(1 << 20)
        while len(got) < len(expected):
            got += bench.uplink.recv(1 << 20)
    assert got == expected
