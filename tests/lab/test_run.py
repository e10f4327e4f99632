"""`colo-proxy run` on real interfaces: it leaves nothing behind, and each refusal is one clear line."""

import errno
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from typing import Any

import pytest
from support.wires import Namespace, namespaces, needs_wires

from colo_proxy.control.client import Client
from colo_proxy.errors import ControlError, HostError
from colo_proxy.host.guard import Guard
from colo_proxy.host.links import Links

pytestmark = needs_wires

MAIN = [sys.executable, "-m", "colo_proxy.cli.main"]
FRAME = bytes.fromhex("525400000001 525400000002 88b5")  # an EtherType for experiments
PORTS = {"uplink": "tap:colo0,bridge=br0", "primary": "packet:pvm0", "secondary": "packet:svm0"}


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A host with a bridge and two guests' interfaces."""
    with namespaces(2) as (host, vms):
        host.veth("pvm0", "pvm", vms)
        host.veth("svm0", "svm", vms)
        with host.inside():
            for command in ("link set lo up", "link add br0 type bridge", "link set br0 up"):
                subprocess.run(["ip", *command.split()], check=True)
        yield host


def configuration(directory: Path, metrics: str = "", **ports: str) -> Path:
    path = directory / "web1.toml"
    nic = "\n".join(f'{port} = "{endpoint}"' for port, endpoint in (PORTS | ports).items())
    path.write_text(
        f'[proxy]\ncontrol = "{directory}/ctl"\nmetrics = "{metrics}"\n[[nic]]\n{nic}\n'
        "[checkpoint]\nmin_interval_ms = 0\n"
    )
    return path


def names(host: Namespace) -> set[str]:
    with host.inside(), Links() as links:
        return {link.name for link in links.all()}


def refusal(host: Namespace, config: Path, command: list[str] = MAIN) -> str:
    """Run a proxy that cannot start; returns its one line."""
    before, files = names(host), set(config.parent.iterdir())
    with host.inside():
        done = subprocess.run(
            [*command, "run", str(config)], capture_output=True, text=True, timeout=30, check=False
        )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    assert names(host) == before
    assert set(config.parent.iterdir()) == files
    return done.stderr


@contextmanager
def started(host: Namespace, config: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Client]]:
    with host.inside():
        process = subprocess.Popen([*MAIN, "run", str(config)], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 20
        while True:
            try:
                client = Client(str(config.parent / "ctl"))
                break
            except ControlError:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < end
                time.sleep(0.02)  # until the socket is there; nothing announces it
        yield process, client
        client.close()
    finally:
        process.kill()
        process.communicate()


def test_check_while_it_runs(host: Namespace, tmp_path: Path) -> None:
    config = configuration(tmp_path, metrics="127.0.0.1:9308")

    def check() -> "subprocess.CompletedProcess[str]":
        with host.inside():
            return subprocess.run(
                [*MAIN, "check", str(config)], capture_output=True, text=True, timeout=30, check=False
            )

    with started(host, config):
        done = check()
        assert done.returncode == 0, done.stderr
        said, verdict = done.stdout.splitlines()
        assert said == f"{config}: this proxy is running (state requested)"
        assert verdict.endswith("the configuration is right, and this host can run it")
        assert all("bridge" in line or "VMM control" in line for line in done.stderr.splitlines()), (
            done.stderr
        )
        host.up("svm0", "down")
        assert "packet:svm0: it is down; ip link set svm0 up\n" in check().stderr
        # What this proxy does not own is judged as ever.
        config.write_text(
            config.read_text().replace("tap:colo0", "tap:svm0").replace("packet:svm0", "packet:lo")
        )
        done = check()
        assert done.returncode == 2
        assert "an interface 'svm0' exists already" in done.stderr
        config.write_text(config.read_text().replace("[proxy]", '[proxy]\nname = "other"'))
        done = check()
        assert "this proxy is running" not in done.stdout
        assert "a proxy is listening on it" in done.stderr


def test_it_starts_checkpoints_and_leaves_nothing(host: Namespace, tmp_path: Path) -> None:
    config = configuration(tmp_path)
    before = names(host)
    with started(host, config) as (process, client):
        assert names(host) == before | {"colo0"}
        assert client.execute("query-status")["state"] == "requested"
        client.execute("checkpoint-begin")
        client.execute("checkpoint-commit")
        assert client.execute("query-status")["state"] == "protected"
        client.execute(
            "set-policy", policies=[{"match": {"protocol": "udp", "port": 53}, "action": "bypass"}]
        )
        assert client.execute("query-flows") == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert names(host) == before
    assert list(tmp_path.iterdir()) == [config]


def test_killed_and_started_again(host: Namespace, tmp_path: Path) -> None:
    config = configuration(tmp_path)
    before = names(host)
    with started(host, config) as (process, _):
        process.kill()
        process.wait(10)
    assert names(host) == before
    with started(host, config) as (_, client):
        status = client.execute("query-status")
        assert (status["state"], status["reason"], status["epoch"]) == ("requested", "start", 0)


def test_no_such_interface(host: Namespace, tmp_path: Path) -> None:
    line = refusal(host, configuration(tmp_path, secondary="packet:nope0"))
    assert "there is no interface 'nope0' here" in line


def test_no_such_bridge(host: Namespace, tmp_path: Path) -> None:
    assert "there is no bridge 'br9'" in refusal(host, configuration(tmp_path, uplink="tap:colo0,bridge=br9"))


def test_the_tap_exists_already(host: Namespace, tmp_path: Path) -> None:
    assert "an interface 'pvm0' exists already; give the TAP another name" in refusal(
        host,
        configuration(tmp_path, uplink="tap:pvm0,bridge=br0", primary="packet:svm0", secondary="packet:lo"),
    )


def test_no_privilege(host: Namespace, tmp_path: Path) -> None:
    code = (
        "import sys; from colo_proxy.daemon import privileges; privileges.drop(()); "
        "from colo_proxy.cli.main import main; sys.exit(main())"
    )
    line = refusal(host, configuration(tmp_path), [sys.executable, "-c", code])
    assert "no privilege" in line or "not permitted" in line


def test_the_metrics_port_is_taken(host: Namespace, tmp_path: Path) -> None:
    with host.inside(), socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(host, configuration(tmp_path, metrics=f"127.0.0.1:{port}"))
    assert f"metrics 127.0.0.1:{port}: Address already in use" in line


def test_the_control_socket_is_something_else(host: Namespace, tmp_path: Path) -> None:
    (tmp_path / "ctl").write_text("precious")
    assert "exists and is not a socket" in refusal(host, configuration(tmp_path))


def test_a_proxy_is_running_already(host: Namespace, tmp_path: Path) -> None:
    config = configuration(tmp_path)
    with started(host, config) as (_, client):
        assert "another proxy is listening there" in refusal(host, config)
        assert client.execute("query-status")["state"] == "requested"


def test_the_log_as_json(host: Namespace, tmp_path: Path) -> None:
    config = configuration(tmp_path)
    config.write_text(config.read_text() + '[log]\nformat = "json"\n')
    with host.inside():
        process = subprocess.Popen([*MAIN, "run", str(config)], stderr=subprocess.PIPE)
    assert process.stderr
    lines = [json.loads(process.stderr.readline())]
    while "control socket" not in lines[-1]["message"]:
        lines.append(json.loads(process.stderr.readline()))
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=10)[1]
    lines += [json.loads(line) for line in rest.splitlines()]
    assert lines[-1]["message"] == "stopped"
    assert process.returncode == 0
    assert {"time", "level", "logger", "message"} <= set(lines[0])


def test_check_says_what_run_would_and_changes_nothing(host: Namespace, tmp_path: Path) -> None:
    before = names(host)
    for ports, status, what in (({}, 0, "this host can run it"), ({"primary": "packet:nope0"}, 2, "nope0")):
        config = configuration(tmp_path, **ports)
        with host.inside():
            done = subprocess.run(
                [*MAIN, "check", str(config)], capture_output=True, text=True, timeout=30, check=False
            )
        assert done.returncode == status, done.stderr
        assert what in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert names(host) == before
    assert list(tmp_path.iterdir()) == [config]


def test_a_clean_stop_lets_out_what_is_committed_and_nothing_else(tmp_path: Path) -> None:
    """SIGTERM comes while some output is held and some has just been committed."""
    with namespaces(2) as (host, others):
        for ours, theirs in (("up0", "client"), ("pvm0", "pvm"), ("svm0", "svm")):
            host.veth(ours, theirs, others)
        client, pvm = others.packet("client"), others.packet("pvm")
        said = [bytes(10) + FRAME + bytes([number]) * 50 for number in range(20)]
        with started(host, configuration(tmp_path, uplink="packet:up0")) as (process, control):
            for commit in (True, False):
                for frame in said[:10] if commit else said[10:]:
                    pvm.send(frame)
                while control.execute("query-status")["held_frames"] < 10:
                    time.sleep(0.01)
                if commit:
                    control.execute("checkpoint-begin")
                    control.execute("checkpoint-commit")
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        client.setblocking(False)
        got = []
        with suppress(BlockingIOError):
            while True:
                got.append(client.recv(4096))
        left = [frame[24:] for frame in got if frame[22:24] == FRAME[12:14]]
        assert left == [frame[24:] for frame in said[:10]]


def event(control: Client, name: str, **data: object) -> dict[str, Any]:
    """The next event of this name and with these data; those before it are dropped."""
    for each in control.events(10):
        if each["event"] == name and data.items() <= each["data"].items():
            return dict(each["data"])
    raise AssertionError


@pytest.mark.parametrize(
    ("name", "port", "peer"),
    [("svm0", "secondary", "svm"), ("pvm0", "primary", "pvm"), ("up0", "uplink", "client")],
)
def test_an_interface_that_is_removed_and_made_again_is_opened_anew(
    tmp_path: Path, name: str, port: str, peer: str
) -> None:
    """A TAP that QEMU makes goes with QEMU, and comes with the next."""
    with namespaces(2) as (host, others):
        ends = {"up0": "client", "pvm0": "pvm", "svm0": "svm"}
        for ours, theirs in ends.items():
            host.veth(ours, theirs, others)
        with started(host, configuration(tmp_path, uplink="packet:up0")) as (process, control):
            control.execute("checkpoint-begin")
            control.execute("checkpoint-commit")
            descriptors = []
            for _ in range(2):
                epoch = control.execute("query-status")["epoch"]
                host.remove(name)
                fault = event(control, "PORT_FAULT", port=port)["errno"]
                assert fault in (errno.ENETDOWN, errno.ENODEV)  # it goes down before it goes
                host.veth(name, peer, others)
                if port != "uplink":
                    why = event(control, "STATE_CHANGE", to="requested")["why"]
                    assert why == f"packet:{name}: the interface exists again"
                    assert event(control, "CHECKPOINT_REQUEST")["reason"] == "start"
                event(control, "PORT_FAULT", port=port, errno=0)
                if port != "uplink":  # of what left and was lost beyond the uplink both guests know
                    control.execute("checkpoint-begin")
                    assert control.execute("checkpoint-commit") == {"epoch": epoch + 1}
                status = control.execute("query-status")
                assert (status["state"], status["nics"][0]["faults"]) == ("protected", [])
                sockets = {theirs: others.packet(theirs) for theirs in ends.values()}
                frame = bytes(10) + FRAME + b"both say this".ljust(50, b"\0")
                for guest in ("pvm", "svm"):
                    sockets[guest].send(frame)
                got = b""
                while got[22:] != frame[22:]:
                    assert select([sockets["client"]], [], [], 5)[0], "nothing leaves"
                    got = sockets["client"].recv(4096)
                with host.inside(), pytest.raises(HostError, match="another colo-proxy"):
                    Guard(name)  # the host's stack is kept off the new interface, too
                for each in sockets.values():
                    each.close()
                descriptors.append(len(list(Path(f"/proc/{process.pid}/fd").iterdir())))
            assert descriptors[0] == descriptors[1]


def test_without_its_own_tap_it_ends(host: Namespace, tmp_path: Path) -> None:
    with started(host, configuration(tmp_path)) as (process, _):
        host.remove("colo0")
        _, said = process.communicate(timeout=10)
    assert process.returncode == 2
    last = said.decode().splitlines()[-1]
    assert "tap:colo0,bridge=br0: the TAP has been removed; start the proxy again, it makes the TAP" in last
    assert "Traceback" not in said.decode()
