"""Ports on real interfaces: what they carry, what the host's stack gets to see, and that nothing stays
behind.
"""

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from select import select
from types import SimpleNamespace

import pytest
from support.wires import Namespace, namespaces, needs_wires

from colo_proxy.endpoints import parse
from colo_proxy.errors import HostError
from colo_proxy.host.guard import Guard
from colo_proxy.host.links import Links
from colo_proxy.host.ports import open_ports

pytestmark = needs_wires

BROADCAST = b"\xff" * 6
VM = bytes.fromhex("525400000002")
HOST_ADDRESS = "192.0.2.1"
ASKER = "192.0.2.2"


def nic(uplink: str, primary: str = "unix:/nowhere/p", secondary: str = "unix:/nowhere/s") -> SimpleNamespace:
    return SimpleNamespace(endpoints=(parse(uplink), parse(primary), parse(secondary)), vnet_hdr=False)


def arp_request() -> bytes:
    """Who has the host's address? Tell the VM."""
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1)
    body += VM + socket.inet_aton(ASKER) + bytes(6) + socket.inet_aton(HOST_ADDRESS)
    return (BROADCAST + VM + b"\x08\x06" + body).ljust(60, b"\0")


def ready(fd: int, seconds: float) -> bool:
    return bool(select([fd], [], [], seconds)[0])


@pytest.fixture
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    """The host, with `pvm0` and an address on it, and a VM at the other end of its wire, `eth0`."""
    with namespaces(2) as (host, vm):
        host.veth("pvm0", "eth0", vm)
        host.address("pvm0", HOST_ADDRESS)
        yield host, vm


def names(host: Namespace) -> set[str]:
    with host.inside(), Links() as links:
        return {link.name for link in links.all()}


def test_the_hosts_stack_is_silent_while_the_port_is_open_and_back_afterwards(
    pair: tuple[Namespace, Namespace],
) -> None:
    host, vm = pair
    wire = vm.packet("eth0")
    wire.send(bytes(10) + arp_request())
    assert ready(wire.fileno(), 5), "without the guard the host answers, or this test shows nothing"
    assert wire.recv(2048)[10 + 12 : 10 + 14] == b"\x08\x06"

    with host.inside(), open_ports([nic("packet:pvm0")]) as ([(port, _, _)], _):
        wire.send(bytes(10) + arp_request())
        assert ready(port.fd, 5), "the packet socket sees the frame before the guard drops it"
        assert os.read(port.fd, 2048)[10:] == arp_request()
        assert not ready(wire.fileno(), 0.3), "the host answered"

    wire.send(bytes(10) + arp_request())
    assert ready(wire.fileno(), 5), "the guard is lifted with the port"


def test_the_guard_is_gone_after_kill_9(pair: tuple[Namespace, Namespace]) -> None:
    host, _ = pair
    program = (
        "import sys, time; from colo_proxy.host.guard import Guard; "
        "guard = Guard('pvm0'); print('ready', flush=True); time.sleep(60)"
    )
    with host.inside():
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        with host.inside(), pytest.raises(HostError, match="another colo-proxy"):
            Guard("pvm0")
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.communicate()
    with host.inside():
        Guard("pvm0").close()


def test_frames_both_ways_with_what_the_engine_needs_beside_them(pair: tuple[Namespace, Namespace]) -> None:
    host, vm = pair
    with host.inside(), open_ports([nic("packet:pvm0")]) as ([(port, primary, _)], _):
        assert (port.kind, port.name, port.vnet) == ("packet", "pvm0", True)
        assert (primary.fd, primary.kind, primary.name) == (-1, "stream", "unix:/nowhere/p")
        assert not os.get_blocking(port.fd)
        wire = vm.packet("eth0")
        os.write(port.fd, bytes(10) + BROADCAST + VM + b"\x88\xb5" + b"down".ljust(46, b"\0"))
        assert ready(wire.fileno(), 5)
        assert wire.recv(2048)[24:28] == b"down"
        wire.send(bytes(10) + BROADCAST + VM + b"\x88\xb5" + b"up".ljust(46, b"\0"))
        assert ready(port.fd, 5)
        with socket.socket(fileno=os.dup(port.fd)) as sock:
            data, beside, _, _ = sock.recvmsg(2048, 256)
        assert data[24:26] == b"up"
        kinds = {(level, kind) for level, kind, _ in beside}
        assert kinds == {(socket.SOL_SOCKET, 35), (263, 8)}  # SCM_TIMESTAMPNS, PACKET_AUXDATA
        assert not ready(port.fd, 0.05), "what we sent ourselves does not come back"


def test_a_tap_joins_the_bridge_without_changing_it_and_vanishes() -> None:
    with namespaces() as [host]:
        with host.netlink() as route:
            route.link("add", ifname="br0", kind="bridge", mtu=1400, address="02:00:00:00:00:01")
        host.up("br0")
        with host.inside(), Links() as links:
            before = links.find("br0")
            with open_ports([nic("tap:colo0,bridge=br0")]) as ([(port, _, _)], _):
                tap, bridge = links.find("colo0"), links.find("br0")
                assert tap
                assert bridge
                assert before
                assert (tap.up, tap.bridge, tap.mtu, tap.kind) == (True, bridge.index, 1400, "tun")
                assert bridge.mtu == before.mtu
                assert links.addresses(tap) == []
                assert not os.get_blocking(port.fd)
                os.write(port.fd, bytes(10) + arp_request())
        assert names(host) == {"lo", "br0"}


def test_several_nics_and_a_link_that_was_down() -> None:
    with namespaces() as [host]:
        host.veth("u0", "u1")
        host.veth("p0", "p1")
        host.up("p0", "down")
        both = [nic("packet:u0", "tap:t0"), nic("packet:p0", "tap:t1")]
        with host.inside(), Links() as links:  # noqa: SIM117
            with open_ports(both) as (nics, _):
                assert [[port.name for port in ports[:2]] for ports in nics] == [["u0", "t0"], ["p0", "t1"]]
                link = links.find("p0")
                assert link
                assert link.up
                assert links.addresses(link) == []
                with pytest.raises(BlockingIOError):  # not ENETDOWN: it is up now
                    os.read(nics[1][0].fd, 2048)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("packet:nothing", "no interface 'nothing'"),
        ("packet:lo", "no Ethernet frames"),
        ("packet:u0", "another colo-proxy"),
        ("tap:u0", "exists already"),
        ("tap:t0,bridge=u1", "is not a bridge; name"),
        ("tap:t0,bridge=nothing", "ip link add nothing type bridge"),
    ],
)
def test_what_fails_half_way_is_undone(second: str, said: str) -> None:
    with namespaces() as [host]:
        host.veth("u0", "u1")
        host.up("u0", "down")
        before = names(host)
        with host.inside():
            descriptors = set(Path("/proc/self/fd").iterdir())
            with (
                pytest.raises(HostError, match=said) as caught,
                open_ports([nic("packet:u0", "tap:t9", second)]),
            ):
                pytest.fail("opened")
            assert str(caught.value).startswith(second.split(":", maxsplit=1)[0])
            assert set(Path("/proc/self/fd").iterdir()) == descriptors
            with Links() as links:
                link = links.find("u0")
                assert link
                assert not link.up
            Guard("u0").close()  # nobody holds it
        assert names(host) == before


def test_a_port_of_a_bridge_is_refused_and_left_as_it_was() -> None:
    """The bridge would send to the VM, past the proxy, all that it floods."""
    with namespaces() as [host]:
        host.veth("u0", "u1")
        with host.netlink() as route:
            route.link("add", ifname="br7", kind="bridge")
            index = route.link_lookup(ifname="br7")[0]
            route.link("set", index=route.link_lookup(ifname="u0")[0], master=index)
        said = r"packet:u0: .* port of the bridge 'br7'.*nomaster"
        with host.inside(), pytest.raises(HostError, match=said), open_ports([nic("packet:u0")]):
            pytest.fail("opened")
        with host.inside(), Links() as links:
            link = links.find("u0")
            assert link
            assert link.bridge == index
            Guard("u0").close()


@pytest.mark.parametrize(
    ("lacking", "endpoint", "said"),
    [
        ("net_admin", "packet:u0", "CAP_NET_ADMIN"),
        ("net_raw", "packet:u0", "CAP_NET_RAW"),
        ("net_admin", "tap:t0", "CAP_NET_ADMIN"),
    ],
)
def test_a_missing_privilege_is_named(lacking: str, endpoint: str, said: str) -> None:
    program = f"""
from types import SimpleNamespace
from colo_proxy.endpoints import parse
from colo_proxy.errors import HostError
from colo_proxy.host.ports import open_ports
end = parse({endpoint!r})
try:
    with open_ports([SimpleNamespace(endpoints=(end, end, end), vnet_hdr=False)]):
        print("opened")
except HostError as error:
    print(error)
"""
    with namespaces() as [host]:
        host.veth("u0", "u1")
        with host.inside():
            done = subprocess.run(
                ["setpriv", f"--bounding-set=-{lacking}", "--inh-caps=-all", sys.executable, "-c", program],
                capture_output=True,
                text=True,
                check=False,
            )
    assert said in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOENT, "modprobe tun"), (errno.EACCES, "CAP_NET_ADMIN")]
)
def test_a_host_without_dev_net_tun_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, said: str
) -> None:
    device = tmp_path / "tun"
    monkeypatch.setattr("colo_proxy.host.ports.TUN_DEVICE", device)
    if number == errno.EACCES:

        def refuse(*_: object) -> None:
            raise PermissionError(number, os.strerror(number))

        monkeypatch.setattr("colo_proxy.host.ports.os.open", refuse)
    with pytest.raises(HostError, match=said), open_ports([nic("tap:t0")]):
        pytest.fail("opened")
