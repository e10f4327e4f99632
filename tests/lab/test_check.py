"""`problems` against real interfaces that are right, and wrong in one way each."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from support.wires import Namespace, namespaces, needs_wires

from colo_proxy import config
from colo_proxy.daemon import check
from colo_proxy.daemon.problem import Problem
from colo_proxy.host.guard import Guard

pytestmark = needs_wires


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A host with a bridge and the wires of a pair, all as they should be."""
    with namespaces() as [host]:
        for port in ("pvm0", "svm0", "up0"):
            host.veth(port, port + "x")
        with host.netlink() as route:
            route.link("add", ifname="br0", kind="bridge", br_mcast_snooping=0)
        host.up("br0")
        with host.inside():
            for setting in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
                setting.write_text("0")
        yield host


def found(
    host: Namespace, directory: Path, *, uplink: str = "tap:colo0,bridge=br0", proxy: str = ""
) -> list[Problem]:
    text = (
        f'[proxy]\ncontrol = "{directory}/c.sock"\n' + (proxy or 'metrics = ""') + "\n"
        f'[[nic]]\nuplink = "{uplink}"\nprimary = "packet:pvm0"\nsecondary = "packet:svm0"\n'
    )
    with host.inside():
        return check.problems(config.parse(text, directory / "test.toml"))


def change(host: Namespace, name: str, **changes: object) -> None:
    with host.netlink() as route:
        route.link("set", index=route.link_lookup(ifname=name)[0], **changes)


def test_a_host_that_is_right_has_no_problem(host: Namespace, tmp_path: Path) -> None:
    assert found(host, tmp_path) == []
    assert found(host, tmp_path, uplink="packet:up0") == []
    with host.inside():
        Guard("pvm0").close()  # asking left nothing behind


WRONG: dict[str, tuple[Callable[[Namespace], object], dict[str, str], str, str]] = {
    "mtu": (
        lambda host: change(host, "svm0", mtu=1400),
        {},
        "error",
        "MTUs differ: uplink 1500, primary 1500",
    ),
    "address": (lambda host: host.address("pvm0", "192.0.2.1"), {}, "warning", "192.0.2.1"),
    "gone": (lambda host: host.remove("svm0"), {}, "error", "no such interface"),
    "enslaved": (
        lambda host: change(host, "pvm0", master=host_index(host, "br0")),
        {},
        "error",
        "port of a bridge",
    ),
    "down": (lambda host: host.up("pvm0", "down"), {}, "warning", "it is down; ip link set pvm0 up"),
    "carrier": (lambda host: host.up("svm0x", "down"), {}, "warning", "no carrier"),
    "bridge gone": (lambda host: host.remove("br0"), {}, "error", "ip link add br0 type bridge"),
    "bridge down": (lambda host: host.up("br0", "down"), {}, "warning", "is down"),
    "spanning tree": (
        lambda host: change(host, "br0", kind="bridge", br_stp_state=1),
        {},
        "warning",
        "forwards nothing for 30 s after a start; ip link set br0 type bridge stp_state 0",
    ),
    "multicast snooping": (
        lambda host: change(host, "br0", kind="bridge", br_mcast_snooping=1),
        {},
        "warning",
        "ip link set br0 type bridge mcast_snooping 0",
    ),
    "queue": (
        lambda host: change(host, "pvm0", txqlen=100),
        {},
        "warning",
        "queue of 100 frames is short for a burst; some may be lost; ip link set pvm0 txqueuelen 1000",
    ),
    "no bridge": (lambda host: None, {"uplink": "tap:colo0,bridge=up0"}, "error", "'up0' is not a bridge"),
    "tap exists": (
        lambda host: None,
        {"uplink": "tap:up0"},
        "error",
        "an interface 'up0' exists already; give the TAP another name",
    ),
    "loopback": (lambda host: None, {"uplink": "packet:lo"}, "error", "no Ethernet"),
    "everything bypassed": (
        lambda host: None,
        {"proxy": 'metrics = ""\n[[policy]]\naction = "bypass"'},
        "warning",
        "[[policy]] 1: it releases, without a comparison, everything",
    ),
    "no directory": (
        lambda host: None,
        {"proxy": 'reports = "/nowhere/at/all"\nmetrics = ""'},
        "error",
        "mkdir -p /nowhere/at/all",
    ),
}


def host_index(host: Namespace, name: str) -> int:
    with host.inside():
        return socket.if_nametoindex(name)


@pytest.mark.parametrize("case", WRONG)
def test_each_thing_wrong_is_one_line_with_a_remedy(host: Namespace, tmp_path: Path, case: str) -> None:
    break_it, arguments, level, said = WRONG[case]
    break_it(host)
    lines = [problem for problem in found(host, tmp_path, **arguments) if said in str(problem)]
    assert lines, found(host, tmp_path, **arguments)
    assert all(problem.level == level for problem in lines)
    assert all(problem.remedy and "\n" not in str(problem) for problem in lines)


def test_errors_come_first(host: Namespace, tmp_path: Path) -> None:
    host.address("pvm0", "192.0.2.1")
    host.remove("svm0")
    levels = [problem.level for problem in found(host, tmp_path)]
    assert levels == sorted(levels)
    assert set(levels) == {"error", "warning"}


@pytest.mark.parametrize("running", [True, False])
def test_a_proxy_that_runs_already_is_found(host: Namespace, tmp_path: Path, running: bool) -> None:
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(tmp_path / "c.sock"))
        if running:
            control.listen()
        with host.inside():
            held = Guard("pvm0")
        with closing(held) if running else nullcontext():
            if not running:
                held.close()
            text = " ".join(map(str, found(host, tmp_path)))
    assert ("a proxy is listening" in text) is running
    assert ("another colo-proxy" in text) is running


def test_the_directory_that_the_unit_makes(
    host: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "RUNTIME", tmp_path / "run")
    (problem,) = found(host, tmp_path / "run")
    assert problem.level == "warning"
    assert problem.remedy.endswith(f"RuntimeDirectory=); without the unit, mkdir -p {tmp_path}/run")


def test_automatic_addresses_are_no_problem_and_others_are(host: Namespace, tmp_path: Path) -> None:
    host.address("pvm0", "fe80::1", 64)
    assert found(host, tmp_path) == []
    host.address("pvm0", "2001:db8::1", 64)
    (problem,) = found(host, tmp_path)
    assert "the host's address 2001:db8::1 is not reached" in problem.what


def test_a_file_in_the_control_sockets_place(host: Namespace, tmp_path: Path) -> None:
    (tmp_path / "c.sock").write_text("")
    assert "is not a socket" in " ".join(map(str, found(host, tmp_path)))


def test_a_metrics_port_that_is_taken(host: Namespace, tmp_path: Path) -> None:
    host.up("lo")
    with host.inside(), socket.create_server(("127.0.0.1", 9308)):
        text = " ".join(map(str, found(host, tmp_path, proxy='metrics = "127.0.0.1:9308"')))
    assert "nothing can listen on it: Address already in use" in text


def test_a_firewall_on_bridged_frames(host: Namespace, tmp_path: Path) -> None:
    setting = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not setting.exists():
        pytest.skip("the module br_netfilter is not loaded")
    with host.inside():
        setting.write_text("1")
        setting.with_name("bridge-nf-call-arptables").write_text("1")
    (problem,) = found(host, tmp_path)
    names = "net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-arptables=0"
    assert problem.remedy.startswith(f"sysctl -w {names}, unless")
