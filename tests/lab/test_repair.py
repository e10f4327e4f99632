"""A checkpoint of the lab carries live connections: the client of a VM that died goes on with the other."""

import pytest
from colo_lab.lab import Lab
from colo_lab.replica.content import Content
from colo_lab.transfer import MIB, Transfer, uploaded
from colo_lab.vmm import copy_state


def take_over(lab: Lab) -> None:
    """Copy the PVM's state, let the PVM die, and put the SVM on the bridge in its place."""
    copy_state(lab.pvm, lab.svm)
    lab.pvm.power_off()
    host = lab.topology.host
    host.route.link("set", index=host.index("pvm0"), master=0)
    host.route.link("set", index=host.index("svm0"), master=host.index("br0"))
    lab.svm.go()


@pytest.mark.parametrize("version", [4, 6])
def test_download_goes_on_with_the_other_vm(bridge: Lab, version: int) -> None:
    url, size = bridge.topology.nics[0].url(f"/bytes/{64 * MIB}", version=version), 64 * MIB
    with Transfer(bridge, url, rate=1e8) as download:
        download.reach(8 * MIB)
        take_over(bridge)
        assert download.result()["sha256"] == Content(0).sha256(size)


def test_many_connections_at_once(bridge: Lab) -> None:
    url = bridge.topology.nics[0].url(f"/bytes/{MIB}")
    with Transfer(bridge, url, parallel=100, rate=1e8) as downloads:
        downloads.reach(10 * MIB)
        take_over(bridge)
        expected = Content(0).sha256(MIB)
        assert [result["sha256"] for result in downloads.results()] == [expected] * 100


def test_upload_goes_on_with_the_other_vm(bridge: Lab) -> None:
    size = 32 * MIB + 5
    with Transfer(bridge, bridge.topology.nics[0].url("/upload"), post=size, rate=1e8) as upload:
        upload.reach(8 * MIB)
        take_over(bridge)
        result = upload.result()
    assert result["sha256"] == uploaded(size)


def test_pvm_notices_nothing_either(bridge: Lab) -> None:
    """The PVM goes on after each of many checkpoints, and the SVM could be started from every one."""
    size = 128 * MIB
    with Transfer(bridge, bridge.topology.nics[0].url(f"/bytes/{size}"), rate=2e8) as download:
        for count in range(1, 11):
            download.reach(count * 8 * MIB)
            assert copy_state(bridge.pvm, bridge.svm) == {"connections": 1, "lost": 0}
            bridge.svm.go()
            bridge.pvm.go()
        assert download.result()["sha256"] == Content(0).sha256(size)


def test_generator_is_carried(bridge: Lab) -> None:
    """After a checkpoint both draw the same random bytes."""
    url = bridge.topology.nics[0].url("/random/1000")
    copy_state(bridge.pvm, bridge.svm)
    bridge.svm.go()
    bridge.pvm.go()
    with Transfer(bridge, url) as first:
        before = first.result()["sha256"]
    host = bridge.topology.host
    bridge.pvm.power_off()
    host.route.link("set", index=host.index("pvm0"), master=0)
    host.route.link("set", index=host.index("svm0"), master=host.index("br0"))
    with Transfer(bridge, url) as second:
        assert second.result()["sha256"] == before
