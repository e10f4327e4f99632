"""The life of a pair: failover, a proxy that dies and comes back, several NICs."""

from collections.abc import Callable
from socket import AF_PACKET, SOCK_RAW
from typing import Any

import pytest
from colo_lab.protected import Protected
from colo_lab.replica.content import Content
from colo_lab.topology import Uplink
from colo_lab.transfer import MIB, Transfer
from colo_lab.waiting import Deadline, until

WRONG_MAC = "02:00:00:00:00:99"


@pytest.mark.parametrize("version", [4, 6])
def test_failover(pair: Protected, version: int) -> None:
    """Numbers are still the SVM's own: the client must not notice them."""
    size = 64 * MIB
    url = pair.lab.topology.nics[0].url(f"/bytes/{size}", version=version)
    with Transfer(pair.lab, url, rate=50e6, marks=MIB) as download:
        download.reach(16 * MIB)
        pair.vmm.fail_over()
        assert download.result()["sha256"] == Content().sha256(size)
    assert pair.later == []
    assert pair.proxy.status()["state"] == "failed-over"
    with Transfer(pair.lab, pair.lab.topology.nics[0].url("/bytes/6", version=version)) as again:
        assert again.result()["sha256"] == Content().sha256(6)


def test_failover_after_a_checkpoint(pair: Protected) -> None:
    """The connection was carried to the SVM by a checkpoint; the SVM then goes on with it."""
    size = 64 * MIB
    pair.lab.svm.fault(flip=8 * MIB)
    url = pair.lab.topology.nics[0].url(f"/bytes/{size}")
    with Transfer(pair.lab, url, rate=50e6, marks=MIB) as download:
        download.reach(24 * MIB)
        pair.vmm.fail_over()
        assert download.result()["sha256"] == Content().sha256(size)
    assert pair.later == ["payload"]


def test_proxy_killed_and_started_again(pair: Protected) -> None:
    size = 96 * MIB
    url = pair.lab.topology.nics[0].url(f"/bytes/{size}")
    with Transfer(pair.lab, url, rate=30e6, marks=MIB) as download:
        for count in (1, 2):
            download.reach(count * 24 * MIB)
            before = len(pair.vmm.checkpoints)
            pair.proxy.kill()
            pair.proxy.start()
            pair.vmm.wait(lambda vmm: len(vmm.checkpoints) > before, 15, "the checkpoint")  # noqa: B023
            assert pair.vmm.checkpoints[before].reason == "start"
        assert download.result(90)["sha256"] == Content().sha256(size)
    assert pair.proxy.status()["state"] == "protected"


def test_operator_asks_for_a_checkpoint(pair: Protected) -> None:
    with pair.proxy.connect() as control:
        control.execute("checkpoint")
    pair.vmm.wait(lambda vmm: len(vmm.checkpoints) == 2, 5, "the checkpoint")
    assert pair.later == ["operator"]
    assert pair.proxy.status()["epoch"] >= 2


def test_several_nics_share_a_checkpoint(protect: Callable[..., Any]) -> None:
    size = 16 * MIB
    with protect(nics=3) as made:
        nics = made.lab.topology.nics
        made.lab.svm.fault(flip=4 * MIB)
        downloads = [Transfer(made.lab, nic.url(f"/bytes/{size}"), rate=20e6) for nic in nics]
        try:
            hashes = [download.result()["sha256"] for download in downloads]
        finally:
            for download in downloads:
                download.__exit__(None, None, None)
        assert hashes == [Content().sha256(size)] * 3
        assert made.later == ["payload"]
        assert len(made.proxy.status()["nics"]) == 3


def test_nothing_is_left_by_the_proxy(pair: Protected) -> None:
    """Its TAP, if it has one, and its socket go with it."""
    host = pair.lab.topology.host
    before = set(host.devices())
    status = pair.proxy.stop()
    gone = before - set(host.devices())
    assert status == 0
    assert gone <= {"colo0"}
    assert not pair.proxy.control.exists()


@pytest.mark.parametrize("uplink", [Uplink.TAP, Uplink.PACKET])
def test_neighbours_are_told_at_a_failover(protect: Callable[..., Any], uplink: Uplink) -> None:
    """A bridge that has learned another port for the VM, and a client with another MAC, are put right."""
    with protect(uplink=uplink) as made:
        topology = made.lab.topology
        (nic,) = topology.nics
        for version in (4, 6):
            with Transfer(made.lab, nic.url("/bytes/6", version=version)) as known:
                known.result()
        client, host = topology.client, topology.host
        device = client.index(nic.device)

        def neighbours() -> set[str | None]:
            return {
                entry.get_attr("NDA_LLADDR")
                for entry in client.route.get_neighbours(ifindex=device)
                if entry.get_attr("NDA_DST") in (nic.vm4, nic.vm6)
            }

        def learned() -> set[int]:
            """The bridge's ports at which the VM is thought to be."""
            return {
                entry["ifindex"]
                for entry in host.route.fdb("dump")
                if entry.get_attr("NDA_LLADDR") == nic.vm_mac and entry.get_attr("NDA_MASTER")
            }

        assert neighbours() == {nic.vm_mac}
        with client.socket(AF_PACKET, SOCK_RAW) as wire:
            wire.bind((nic.device, 0))
            mac = bytes.fromhex(nic.vm_mac.replace(":", ""))
            frame = bytes.fromhex(WRONG_MAC.replace(":", "")) + mac + b"\x88\xb5" + bytes(46)

            def misled() -> bool:
                wire.send(frame)  # again, since the VM may have said something in between
                return learned() == {host.index(nic.client_port)}

            until(misled, Deadline(10), "the bridge to be misled")
        for address in (nic.vm4, nic.vm6):
            client.route.neigh("replace", dst=address, lladdr=WRONG_MAC, ifindex=device, state="stale")
        assert neighbours() == {WRONG_MAC}
        made.vmm.fail_over()
        port = host.index(nic.uplink if uplink is Uplink.TAP else nic.uplink_peer)
        until(lambda: learned() == {port}, Deadline(10), "the bridge to learn the uplink")
        until(lambda: neighbours() == {nic.vm_mac}, Deadline(10), "the client's neighbour entries")
