"""A proxy that was restarted knows no neighbours, and neither does the SVM: it is not mute for that."""

import socket

import pytest
from colo_lab.protected import Protected
from colo_lab.replica.content import Content
from colo_lab.transfer import Transfer


@pytest.mark.parametrize("version", [4, 6])
def test_a_new_connection_after_a_restart_is_not_held(pair: Protected, version: int) -> None:
    topology = pair.lab.topology
    nic = topology.nics[0]
    url = nic.url("/bytes/60000", version=version)
    with Transfer(pair.lab, url) as download:  # the PVM and the client know each other from here on
        download.result()
    before = len(pair.vmm.checkpoints)
    pair.proxy.kill()
    pair.proxy.start()
    pair.vmm.wait(lambda vmm: len(vmm.checkpoints) > before, 15, "the checkpoint")
    assert pair.vmm.checkpoints[-1].reason == "start"
    client = nic.client4 if version == 4 else nic.client6
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    index = topology.svm.index(nic.device)
    for entry in topology.svm.route.get_neighbours(family=family, ifindex=index):
        if entry.get_attr("NDA_DST") == client:
            topology.svm.route.neigh("del", dst=client, ifindex=index, family=family)
    with Transfer(pair.lab, url) as download:
        assert download.result()["sha256"] == Content().sha256(60000)
    pair.vmm.settle()
    assert [each.reason for each in pair.vmm.checkpoints[before + 1 :]] == []
