"""A configuration that cannot work: one clear line, exit status 2, nothing left behind."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from colo_lab.lab import Lab, best_uplink
from colo_lab.proxy import COMMAND, Proxy, configuration
from colo_lab.topology import Uplink

# Take capabilities away from root, by prctl(PR_CAPBSET_DROP), then exec.
_WITHOUT = (
    "import ctypes, os, sys; libc = ctypes.CDLL(None); "
    "[libc.prctl(24, number, 0, 0, 0) for number in {numbers}]; os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(uplink=best_uplink()) as lab:
        yield lab


def refused(lab: Lab, text: str, *, before: tuple[str, ...] = (), status: int = 2) -> str:
    """Run the proxy with this configuration; returns the one line that it says. `status`: how it ends."""
    path = lab.run.directory / "wrong.toml"
    path.write_text(text)
    devices = lab.topology.host.devices()
    files = set(lab.run.directory.iterdir())
    process = lab.topology.host.popen(
        [*before, *COMMAND, "run", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.communicate()
        pytest.fail("it runs with a configuration that cannot work")
    assert process.returncode == status, err.decode()
    assert lab.topology.host.devices() == devices
    assert set(lab.run.directory.iterdir()) == files
    lines = (out + err).decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def good(lab: Lab, **sections: dict[str, Any]) -> str:
    return configuration(lab, {"proxy": {"control": str(lab.run.directory / "wrong.sock")}, **sections})


WRONG: dict[str, tuple[Callable[[str], str], str]] = {
    "not TOML": (lambda text: text + "[[[", "wrong.toml"),
    "unknown key": (lambda text: text + "[compare]\ntimeout = 3\n", "timeout"),
    "unknown table": (lambda text: text + "[comparison]\n", "comparison"),
    "wrong type": (lambda text: text + '[compare]\nreorder_ms = "soon"\n', "reorder_ms"),
    "out of range": (lambda text: text + "[compare]\nmax_flows = -1\n", "max_flows"),
    "missing key": (lambda text: text.replace('primary = "packet:pvm0"\n', ""), "primary"),
    "unknown endpoint": (lambda text: text.replace("packet:pvm0", "pigeon:pvm0"), "pigeon"),
    "missing interface": (lambda text: text.replace("packet:pvm0", "packet:pvm9"), "pvm9"),
    "same interface twice": (lambda text: text.replace("packet:svm0", "packet:pvm0"), "pvm0"),
    "sockets without headers": (lambda text: text.replace("packet:pvm0", "unix:/pvm0"), "vnet_hdr"),
    "nowhere to listen": (
        lambda text: text.replace('vmm = "control"', 'vmm = "xen"\nnotify_dev = "unix:/none/xen"'),
        "mkdir /none",
    ),
    "unknown VMM": (lambda text: text.replace('vmm = "control"', 'vmm = "abacus"'), "vmm"),
}


@pytest.mark.parametrize(("change", "names"), WRONG.values(), ids=WRONG.keys())
def test_wrong(lab: Lab, change: Callable[[str], str], names: str) -> None:
    at_fault = 2 if names in {"pvm9", "mkdir /none"} else os.EX_CONFIG  # the host, or the file
    assert names in refused(lab, change(good(lab)), status=at_fault)


def test_missing_bridge(lab: Lab) -> None:
    if lab.topology.uplink is not Uplink.TAP:
        pytest.skip("needs /dev/net/tun")
    assert "br9" in refused(lab, good(lab).replace("bridge=br0", "bridge=br9"))


def test_tap_of_another_proxy(lab: Lab) -> None:
    if lab.topology.uplink is not Uplink.TAP:
        pytest.skip("needs /dev/net/tun")
    with Proxy(lab):
        assert "colo0" in refused(lab, good(lab))


def test_packet_port_of_another_proxy(lab: Lab) -> None:
    with Proxy(lab):
        assert "pvm0" in refused(lab, good(lab).replace("tap:colo0", "tap:colo9"))


def test_port_of_a_bridge(lab: Lab) -> None:
    host = lab.topology.host
    index = host.index("pvm0")
    host.route.link("set", index=index, master=host.index("br0"))
    try:
        assert "pvm0" in refused(lab, good(lab))
    finally:
        host.route.link("set", index=index, master=0)


@pytest.mark.parametrize(
    "numbers", [(12,), (13,), (12, 13), tuple(range(41))], ids=["NET_ADMIN", "NET_RAW", "both", "all"]
)
def test_no_privilege(lab: Lab, numbers: tuple[int, ...]) -> None:
    without = _WITHOUT.format(numbers=numbers)
    assert "CAP_NET_" in refused(lab, good(lab), before=(sys.executable, "-c", without))


def test_metrics_port_taken(lab: Lab) -> None:
    with lab.topology.host.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 9308))
        taken.listen()
        settings = {"control": str(lab.run.directory / "wrong.sock"), "metrics": "127.0.0.1:9308"}
        assert "9308" in refused(lab, good(lab, proxy=settings))


def test_metrics_address_of_another_host(lab: Lab) -> None:
    settings = {"control": str(lab.run.directory / "wrong.sock"), "metrics": "203.0.113.7:9308"}
    line = refused(lab, good(lab, proxy=settings))
    assert "203.0.113.7:9308" in line
    assert "free it" not in line


@pytest.mark.parametrize("reports", ["/nowhere/reports", "/proc", "/etc/passwd"])
def test_reports_that_cannot_be_written(lab: Lab, reports: str) -> None:
    settings = {"control": str(lab.run.directory / "wrong.sock"), "reports": reports}
    assert reports in refused(lab, good(lab, proxy=settings))


def test_control_socket_exists(lab: Lab) -> None:
    """Somebody listens there."""
    path = lab.run.directory / "wrong.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as taken:
        taken.bind(str(path))
        taken.listen()
        try:
            assert "wrong.sock" in refused(lab, good(lab))
        finally:
            path.unlink()


def test_control_path_is_a_file(lab: Lab) -> None:
    path = lab.run.directory / "wrong.sock"
    path.write_text("precious")
    try:
        assert "wrong.sock" in refused(lab, good(lab))
        assert path.read_text() == "precious"
    finally:
        path.unlink()
