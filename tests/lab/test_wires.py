"""The lab's wires do to frames what their devices decide, and carry what a wire would."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from colo_lab.impairments import Impairments, Stack
from colo_lab.lab import Lab
from colo_lab.markers import Run
from colo_lab.namespaces import Namespace
from colo_lab.nic import ETH_P_ALL, PACKET_IGNORE_OUTGOING, SOL_PACKET
from colo_lab.replica.content import Content
from colo_lab.topology import Uplink
from colo_lab.transfer import MIB, Transfer
from colo_lab.wires import Wires, impaired

BAD = Impairments(loss=0.01, duplicates=0.01, reordering=0.02, seed=1)
HEAD = bytes.fromhex("020000000002 020000000001 88b5")  # EtherType 88b5: for experiments (IEEE 802)
FRAMES = [HEAD + number.to_bytes(4, "big") * 12 for number in range(2000)]


@contextmanager
def cable(suffered: Impairments) -> Iterator[tuple[Wires, socket.socket, socket.socket]]:
    """One cable in a namespace of its own, and a socket at either end."""
    with Run() as run, Namespace("cable", run.environment) as space, ExitStack() as stack:
        space.sysctl({"ipv6/conf/default/disable_ipv6": 1})
        ends: list[socket.socket] = []
        for near, far in (("a", "a-wire"), ("b", "b-wire")):
            space.route.link("add", ifname=near, kind="veth", peer={"ifname": far})
            for device in (near, far):
                space.route.link("set", index=space.index(device), state="up")
            end = stack.enter_context(space.socket(socket.AF_PACKET, socket.SOCK_RAW))
            end.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            end.bind((near, ETH_P_ALL))
            end.setblocking(False)
            ends.append(end)
        yield stack.enter_context(impaired(space, [("a-wire", "b-wire")], suffered)), ends[0], ends[1]


def crossed(wires: Wires, source: socket.socket, target: socket.socket) -> list[bytes]:
    """Send all frames, a few at a time, and read what arrives."""
    found = []
    for start in range(0, len(FRAMES), 50):
        for frame in FRAMES[start : start + 50]:
            source.send(frame)
        wires.flush() if start + 50 == len(FRAMES) else wires.hits()
        while True:
            try:
                found.append(target.recv(2048))
            except BlockingIOError:
                break
    return found


@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_what_arrives_is_what_the_devices_let_through(back: bool) -> None:
    """How late a frame is may depend on the time; what arrives, and how often, on the seed alone."""
    with cable(BAD) as (wires, a, b):
        found = crossed(wires, b, a) if back else crossed(wires, a, b)
        hits = wires.hits()
    stack = Stack(*BAD.devices("b-wire" if back else "a-wire").values())
    expected = [out for frame in FRAMES for out in stack.take(frame, 0)]
    assert Counter(found) == Counter([*expected, *stack.flush(0)])
    assert found != sorted(found)
    assert sum(counts["frames"] for counts in hits.values()) == len(FRAMES)
    assert hits["b-wire" if back else "a-wire"]["lost"] > 0


def test_a_good_wire_changes_nothing() -> None:
    with cable(Impairments()) as (wires, a, b):
        assert crossed(wires, a, b) == FRAMES
        assert crossed(wires, b, a) == FRAMES


@pytest.mark.parametrize("version", [4, 6])
def test_super_frames_are_cut_before_they_get_there(version: int) -> None:
    """A loss is that of a frame of the MTU: there are as many as the bytes need."""
    with Lab(uplink=Uplink.BRIDGE, impairments=Impairments()) as lab:
        url = lab.topology.nics[0].url(f"/bytes/{4 * MIB}", version=version)
        with Transfer(lab, url) as download:
            assert download.result()["sha256"] == Content().sha256(4 * MIB)
        assert lab.wires
        hits = lab.wires.hits()
    for direction in ("pvm0-pvm", "client0-host"):
        assert hits[direction]["frames"] > 4 * MIB / 1460
        assert hits[direction]["missed"] == 0
