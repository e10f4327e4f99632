"""`colo-proxy compare` as a user runs it."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpkt
import pytest
from scapy.layers.l2 import ARP, Ether

from .frames import CLIENT, SECOND, START, VM, Timed, http, save, udp

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
COMMAND = [sys.executable, "-m", "colo_proxy.cli.main", "compare"]


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


Pair = Callable[[list[Timed], list[Timed]], tuple[Path, Path]]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Save what PVM and SVM said."""

    def of(pvm: list[Timed], svm: list[Timed]) -> tuple[Path, Path]:
        return save(tmp_path / "pvm.pcap", pvm), save(tmp_path / "svm.pcap", svm)

    return of


def verdict(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_two_guests_that_say_the_same_are_identical(pair: Pair) -> None:
    done = compare(*pair(http(1000, ANSWER), http(77777, ANSWER, start=START + 300_000)), "--json")
    assert done.returncode == 0, done.stderr
    assert verdict(done) == {
        "verdict": "identical",
        "flows": 1,
        "primary_frames": 2,
        "secondary_frames": 2,
        "released_frames": 2,
        "held_frames": 0,
        "divergences": [],
        "not_compared": [],
        "notices": [],
    }
    assert done.stderr == ""


def test_a_byte_that_differs_is_named_with_its_place_and_time(pair: Pair) -> None:
    done = compare(*pair(http(1000, ANSWER), http(77777, ANSWER.replace(b"hello", b"hallo"))), "--json")
    assert done.returncode == 1
    found = verdict(done)
    assert found["verdict"] == "diverged"
    assert found["divergences"] == [
        {
            "flow": "tcp 192.0.2.2:80 > 192.0.2.1:40000",
            "reason": "payload",
            "stream_offset": ANSWER.index(b"hello") + 1,
            "time": (START + 4_000_000) / SECOND,
        }
    ]
    assert found["released_frames"] == 2, "as if a checkpoint had been made"


def test_a_summary_for_a_person(pair: Pair) -> None:
    """Columns that line up, and times that also say the day."""
    midnight = 1_699_920_000 * SECOND
    pvm = [udp(b"x" * 1234, midnight - SECOND, port=7), *http(1000, ANSWER, start=midnight)[:2]]
    svm = [udp(b"x" * 1233 + b"y", midnight - SECOND, port=7), *http(77000, ANSWER, start=midnight)[:1]]
    done = compare(*pair(pvm, svm))
    assert (done.returncode, done.stderr) == (1, "")
    assert (
        done.stdout
        == """\
VM 52:54:00:00:00:02: 2 flows, 2 frames of the PVM, 1 of the SVM; 1 released, 1 held
  2023-11-13T23:59:59.005000Z  payload            byte 1,233  udp 192.0.2.2:7 > 192.0.2.1:9
  2023-11-14T00:00:00.001000Z  missing-secondary  byte 0      tcp 192.0.2.2:80 > 192.0.2.1:40000
diverged: 2 checkpoints would have been needed
"""
    )


def test_one_is_one(pair: Pair) -> None:
    one = pair([udp(b"a", START)], [udp(b"b", START)])
    first, _, last = compare(*one, "--vm-mac", VM).stdout.splitlines()
    assert first == f"VM {VM}: 1 flow, 1 frame of the PVM, 1 of the SVM; 1 released, 0 held"
    assert last == "diverged: 1 checkpoint would have been needed"


def test_what_only_the_pvm_says_is_missing_and_held_at_the_end(pair: Pair) -> None:
    done = compare(*pair(http(1000, ANSWER), http(7, ANSWER)[:4]), "--json")
    assert done.returncode == 1
    found = verdict(done)
    assert [entry["reason"] for entry in found["divergences"]] == ["missing-secondary"]
    assert (found["released_frames"], found["held_frames"]) == (1, 1)


def test_what_only_the_svm_says_holds_nobody_up(pair: Pair) -> None:
    done = compare(*pair(http(1000, ANSWER)[:4], http(7, ANSWER)), "--json")
    assert done.returncode == 1
    assert [entry["reason"] for entry in verdict(done)["divergences"]] == ["missing-primary"]
    assert verdict(done)["held_frames"] == 0


def test_the_timeout_passes_between_frames_at_its_own_time(pair: Pair) -> None:
    later = [udp(b"later", START + 100 * SECOND)]
    pvm = [udp(b"alone", START, port=7), udp(b"later", START + 100 * SECOND)]
    done = compare(*pair(pvm, [udp(b"later", START), *later][1:]), "--json", "--timeout-ms", 500)
    (divergence,) = verdict(done)["divergences"]
    assert divergence["reason"] == "missing-secondary"
    assert divergence["time"] == pytest.approx(START / SECOND + 0.5, abs=1e-3)


def test_released_is_what_a_client_would_have_received(pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "client.pcap"
    pvm = http(1000, ANSWER)
    done = compare(*pair(pvm, http(5, ANSWER, start=START + 300_000)), "--released", out)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "identical"
    with out.open("rb") as file:
        got = list(dpkt.pcap.Reader(file))
    assert [data for _, data in got] == [pvm[1][1], pvm[4][1]]
    assert [int(when * SECOND) for when, _ in got] == [START + 1_300_000, START + 4_300_000]
    assert {path.name for path in tmp_path.iterdir()} == {"pvm.pcap", "svm.pcap", "client.pcap"}


def test_released_into_a_pipe(pair: Pair, tmp_path: Path) -> None:
    """What is no file stays what it is: a name that is a pipe, or a device, is never replaced."""
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    said = pair(http(1000, ANSWER), http(5, ANSWER, start=START + 300_000))
    assert compare(*said, "--released", tmp_path / "pipe").returncode == 0
    got, _ = reader.communicate(timeout=20)
    assert len(list(dpkt.pcap.Reader(io.BytesIO(got)))) == 2
    assert (tmp_path / "pipe").is_fifo()


def test_a_dash_is_no_name(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file of that name, unless it is written as one."""
    monkeypatch.chdir(tmp_path)
    pvm, svm = pair(http(1000, ANSWER), http(5, ANSWER))
    for captures in (("-", svm), (pvm, "-")):
        done = compare(*captures)
        assert (done.returncode, done.stdout) == (2, "")
        assert (
            done.stderr == "colo-proxy: -: standard input cannot be read twice; save the capture to a file\n"
        )
    done = compare(pvm, svm, "--released", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "colo-proxy: --released -: the verdict is written to standard output; name "
    )
    assert not (tmp_path / "-").exists()
    pvm.rename("-")
    assert compare("./-", svm).returncode == 0


def test_names_do_not_reach_the_terminal_raw(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a terminal would obey; a newline, which would make two lines of one; what is no UTF-8."""
    monkeypatch.chdir(tmp_path)
    for name, shown in (("\x1b[31m\n.pcap", "\\x1b[31m\\n.pcap"), ("\udcff\u202eß", "\\udcff\\u202eß")):
        done = compare(name, name)
        assert done.returncode == 2
        assert done.stderr.startswith(f"colo-proxy: {shown}: No such file")
        assert len(done.stderr.splitlines()) == 1
    pvm, svm = pair(http(1000, ANSWER), http(5, ANSWER, start=START + 500 * SECOND))
    svm.rename("\x9b1m")
    done = compare(pvm, "\x9b1m")
    assert done.returncode == 0
    assert "\\x9b1m: does not overlap" in done.stderr
    done = compare(pvm, pvm, "\x1b[31m")
    assert "\x1b" not in done.stderr


def test_released_behind_a_link(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "client.pcap").write_text("before")
    (tmp_path / "link").symlink_to("client.pcap")
    said = pair(http(1000, ANSWER), http(5, ANSWER, start=START + 300_000))
    assert compare(*said, "--released", tmp_path / "link").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert len(list(dpkt.pcap.Reader((tmp_path / "client.pcap").open("rb")))) == 2


def test_released_into_a_folder(pair: Pair, tmp_path: Path) -> None:
    said = pair(http(1000, ANSWER), http(5, ANSWER))
    done = compare(*said, "--released", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"colo-proxy: {tmp_path}: cannot be written: Is a directory; name another file\n"


@pytest.mark.parametrize("name", ["x" * 300, "file/below", "nowhere/below"])
def test_released_where_nothing_can_be(pair: Pair, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    said = pair(http(1000, ANSWER), http(5, ANSWER))
    done = compare(*said, "--released", tmp_path / name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"colo-proxy: {tmp_path / name}: cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


def test_released_onto_a_link_that_leads_to_itself(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    assert (
        compare(*pair(http(1000, ANSWER), http(5, ANSWER)), "--released", tmp_path / "round").returncode == 0
    )
    assert (tmp_path / "round").is_file()


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_output_that_cannot_be_written_is_no_verdict(pair: Pair, form: list[str]) -> None:
    """Exit status 1 would say that the captures differ."""
    command = [*COMMAND, *map(str, pair(http(1000, ANSWER), http(5, ANSWER))), *form]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "colo-proxy: the output cannot be written: No space left on device\n",
    )


def test_a_reader_that_has_gone(pair: Pair) -> None:
    command = [*COMMAND, *map(str, pair(http(1000, ANSWER), http(5, ANSWER)))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    assert process.wait(20) == 128 + signal.SIGPIPE
    assert process.stderr
    assert process.stderr.read() == b""
    assert "141 the reader of the output has closed it" in " ".join(compare("--help").stdout.split()), (
        "as the manual says"
    )


def test_an_error_half_way_leaves_no_released_file(pair: Pair, tmp_path: Path) -> None:
    pvm, svm = pair(http(1000, ANSWER), http(5, ANSWER))
    svm.write_bytes(svm.read_bytes()[:-3])
    out = tmp_path / "client.pcap"
    out.write_text("precious")
    done = compare(pvm, svm, "--released", out)
    assert done.returncode == 2
    assert f"{svm}: frame 6 at byte" in done.stderr
    assert out.read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 3


def test_captures_from_other_times_begin_together_and_that_is_said(pair: Pair) -> None:
    done = compare(*pair(http(1000, ANSWER), http(5, ANSWER, start=START + 500 * SECOND)), "--json")
    assert done.returncode == 0
    assert "-500.000000 s" in done.stderr
    assert verdict(done)["verdict"] == "identical"


@pytest.mark.parametrize(("seconds", "how"), [(9, "9.000000 s after"), (-9, "9.000000 s before")])
def test_captures_that_are_near_but_apart_may_be_of_clocks_that_differ(
    pair: Pair, seconds: int, how: str
) -> None:
    pvm, svm = pair(http(1000, ANSWER), http(5, ANSWER, start=START + seconds * SECOND))
    done = compare(pvm, svm)
    assert done.returncode == 1
    assert done.stderr == (
        f"colo-proxy: {svm}: begins {how} {pvm}; if it is their clocks that differ, "
        f"move its times (editcap -t {-seconds}.000000) and compare again\n"
    )
    assert compare(pvm, svm, "--timeout-ms", "9001").stderr == ""


def test_captures_that_only_begin_apart_are_no_matter(pair: Pair) -> None:
    arp = [(START - 9 * SECOND, bytes(Ether(src=VM, dst="ff:ff:ff:ff:ff:ff") / ARP()))]
    assert compare(*pair(arp + http(1000, ANSWER), http(5, ANSWER))).stderr == ""
    differ = http(5, ANSWER[:-1] + b"!")
    done = compare(*pair(arp + http(1000, ANSWER), differ))
    assert (done.returncode, done.stderr) == (1, ""), "no clock makes bytes differ"


def test_ambiguous_captures_name_the_addresses_and_the_option(pair: Pair) -> None:
    other = "02:00:00:00:00:09"
    cut = [frame for at, frame in enumerate(http(1, ANSWER, vm=other)) if at != 1]
    captures = pair(cut, cut)
    done = compare(*captures)
    assert done.returncode == 2
    assert other in done.stderr
    assert CLIENT in done.stderr
    assert "--vm-mac" in done.stderr
    assert compare(*captures, "--vm-mac", other.replace(":", "-")).returncode in (0, 1)


@pytest.mark.parametrize(
    ("mac", "said"),
    [("52:54:00:00:00:99", f"one of {CLIENT}, {VM}"), ("52:54", "not a MAC"), ("ff:ff:ff:ff:ff:ff", "group")],
)
def test_a_wrong_vm_mac_is_explained(pair: Pair, mac: str, said: str) -> None:
    done = compare(*pair(http(1, ANSWER), http(2, ANSWER)), "--vm-mac", mac)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("order", [1, -1])
def test_a_vm_may_have_several_addresses(pair: Pair, order: int) -> None:
    """Its frames with either are its own."""
    second = "00:00:5e:00:01:07"
    said = [
        http(isn, ANSWER) + http(isn, ANSWER, port=40001, vm=second, start=START + SECOND) for isn in (1, 77)
    ]
    vms = [VM, second][::order]
    done = compare(*pair(*said), "--vm-mac", vms[0], "--vm-mac", vms[1], "--json")
    assert (done.returncode, verdict(done)["flows"], done.stderr) == (0, 2, "")
    done = compare(*pair(*said), "--vm-mac", VM, "--json")
    path = pair(*said)[0]
    assert verdict(done)["notices"][0] == (
        f"{path}: 6 unicast frames neither come from nor go to {VM}; if the VM has another address, "
        "give each of them as --vm-mac"
    )


def test_an_address_that_sent_nothing_in_one_capture_is_noticed(pair: Pair) -> None:
    silent = [frame for frame in http(1, ANSWER) if frame[1][6:12] != bytes.fromhex(VM.replace(":", ""))]
    pvm, svm = pair(http(1, ANSWER), silent)
    done = compare(pvm, svm, "--vm-mac", VM)
    assert done.returncode == 1
    assert done.stderr == (
        f"colo-proxy: {svm}: {VM} sent nothing in it; was it captured at the right port?\n"
    )


def test_in_two_empty_captures_nothing_is_identical(pair: Pair) -> None:
    done = compare(*pair([], []), "--json")
    assert done.returncode == 2
    found = verdict(done)
    assert (found["verdict"], found["flows"], found["not_compared"]) == ("incomplete", 0, [])
    assert found["notices"] == ["neither capture has a frame of the VM, so nothing was compared"]


def test_a_clients_address_as_the_vms_is_noticed(pair: Pair) -> None:
    captures = pair(http(1, ANSWER), http(77_000, ANSWER))
    done = compare(*captures, "--vm-mac", CLIENT, "--json")
    assert verdict(done)["notices"] == [
        f"{CLIENT} sends the same in both captures, as clients do, and {VM} does not; "
        "give as --vm-mac the VM's addresses alone"
    ]
    done = compare(*captures, "--vm-mac", VM, "--vm-mac", CLIENT, "--json")
    assert verdict(done)["notices"] == []
    assert verdict(compare(*captures, "--vm-mac", VM, "--json"))["notices"] == []


def test_the_captures_are_never_overwritten(pair: Pair) -> None:
    pvm, svm = pair(http(1, ANSWER), http(2, ANSWER))
    done = compare(pvm, svm, "--released", svm)
    assert done.returncode == 2
    assert "another name" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("/nowhere.pcap", "/nowhere.pcap"), ("/", "/"), ("/dev/null", "/dev/null")]
)
def test_what_is_no_capture_is_one_line(arguments: tuple[str, str]) -> None:
    done = compare(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"colo-proxy: {arguments[0]}: ")
    assert len(done.stderr.splitlines()) == 1
