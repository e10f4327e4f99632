"""`make demo`: what the proxy does, seen from outside, within a minute.

Every claim on the screen is measured in this run: hashes by the client, times by the kernel's stamps on
captured packets, sequence numbers from the SYN/ACKs themselves. A claim that does not hold ends the demo with
exit status 1.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from . import kernel, markers
from .capture import Stream, capturing
from .errors import LabError
from .lab import Lab, best_uplink
from .protected import protected
from .proxy import Proxy
from .replica.content import Content
from .screen import any_encoding, console
from .topology import Uplink
from .transfer import MIB, Transfer
from .vmm import Checkpoint, Vmm, stamp
from .waiting import Deadline

_SIZE = 512 * MIB  # of the downloads that are timed
_FLIP_SIZE, _FLIP_AT = 256 * MIB, 100 * MIB
_LAST_SIZE, _LAST_RATE = 256 * MIB, 80e6
_console = console()


def demo() -> int:
    """Run it; returns the exit status. Raises LabError where the machine lacks something."""
    any_encoding()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that contexts end
    note = kernel.become_root()
    markers.sweep()
    uplink = best_uplink()
    if note:
        _console.print(f"[dim]{note}[/]")
    if uplink is Uplink.PACKET:
        _console.print(f"[dim]{kernel.TUN} may not be opened here: the uplink is a veth pair, not a TAP[/]")
    content = Content()
    plain = _plain(content)
    with protected(uplink=uplink) as made:
        lab, proxy, vmm = made.lab, made.proxy, made.vmm
        _title("The proxy held everything until the SVM had the PVM's state; the pair is now protected")
        _proxied(lab, vmm, content, plain)
        _own_numbers(lab, proxy)
        _difference(lab, vmm, content)
        _failover(lab, proxy, vmm, content)
        _closing(proxy, vmm)
    left = [path for path, owner in markers.runs() if owner.pid == os.getpid()]
    _claim(not left and not _children(), "nothing is left behind: no namespace, process or file")
    _console.print(f"\n[bold green]Done[/] in {time.monotonic() - began:.0f} s.")
    return 0


def _plain(content: Content) -> dict[str, Any]:
    _title("A download over a plain bridge, for comparison")
    with Lab(uplink=Uplink.BRIDGE) as lab:
        return _download(lab, content, _SIZE)


def _proxied(lab: Lab, vmm: Vmm, content: Content, plain: dict[str, Any]) -> None:
    _title("The same through the proxy: PVM and SVM both serve it, the client receives it once")
    before = len(vmm.checkpoints)
    over4 = _download(lab, content, _SIZE)
    over6 = _download(lab, content, _SIZE, version=6)
    speeds = [result["bytes"] / result["seconds"] / 1e6 for result in (plain, over4, over6)]
    _say(f"plain bridge {speeds[0]:.0f} MB/s   proxied IPv4 {speeds[1]:.0f} MB/s   IPv6 {speeds[2]:.0f} MB/s")
    needless = vmm.checkpoints[before:]
    _say(f"checkpoints that this needed: {len(needless)}" + "".join(f", {c.reason}" for c in needless))


def _own_numbers(lab: Lab, proxy: Proxy) -> None:
    _title("The SVM has the same connection, with sequence numbers of its own")
    nic, host = lab.topology.nics[0], lab.topology.host
    with (
        capturing(host, nic.primary) as primary,
        capturing(host, nic.secondary) as secondary,
        capturing(lab.topology.client, nic.device) as client,
        Transfer(lab, nic.url("/bytes/65536")) as transfer,
    ):
        transfer.result()
        pvm, svm, seen = (Stream.first(capture.segments()) for capture in (primary, secondary, client))
    offset = (svm.isn - pvm.isn) % 2**32
    port = f":{pvm.segments[0].target}"
    flow = next((flow for flow in proxy.flows() if flow["flow"].endswith(port)), None)
    table = Table("SYN/ACK of", "sequence number", box=None)
    for who, stream in (("the PVM", pvm), ("the SVM", svm), ("what the client received", seen)):
        table.add_row(who, f"{stream.isn:>10}")
    _console.print(table)
    _claim(seen.isn == pvm.isn, "the client receives the PVM's numbers")
    _claim(offset != 0, f"the SVM's differ by {offset}")
    if flow:
        _claim(flow["seq_offset"] == offset, "and the proxy reports the same offset of that flow")


def _difference(lab: Lab, vmm: Vmm, content: Content) -> None:
    _title(f"A forced difference: the SVM flips the byte at {_FLIP_AT / MIB:.0f} MiB of a download")
    nic = lab.topology.nics[0]
    lab.svm.fault(flip=_FLIP_AT)
    count, seen = len(vmm.checkpoints), len(vmm.events)
    with (
        capturing(lab.topology.host, nic.secondary) as secondary,
        capturing(lab.topology.host, nic.primary) as primary,
        capturing(lab.topology.client, nic.device) as client,
    ):
        result = _download(lab, content, _FLIP_SIZE)
        vmm.wait(lambda vmm: _about_the_byte(vmm.checkpoints[count:]) is not None, 10, "the checkpoint")
        differs = max(Stream.first(side.segments()).reached(_FLIP_AT) for side in (primary, secondary))
        delivered = Stream.first(client.segments()).reached(_FLIP_AT)
    checkpoint = _about_the_byte(vmm.checkpoints[count:])
    assert checkpoint is not None
    asked, stopped = (
        _first(vmm.events[seen:], name, differs) for name in ("CHECKPOINT_REQUEST", "CHECKPOINT_BEGIN")
    )
    table = Table("ms", "what", box=None)
    steps = {
        "both have sent the byte, and it differs": differs,
        f"held; checkpoint requested: {checkpoint.reason} at offset {checkpoint.stream_offset}": asked,
        "both VMs stopped": stopped,
        "the SVM has the PVM's state: commit": checkpoint.committed,
        "the byte reaches the client": delivered,
    }
    for what, when in steps.items():
        table.add_row(f"{(when - differs) / 1e6:8.2f}", what)
    _console.print(table)
    _say(f"{checkpoint.flow}; the client's longest gap: {result['gap'] * 1e3:.0f} ms")
    _claim(
        checkpoint.reason == "payload" and checkpoint.stream_offset == _FLIP_AT, "the proxy named the byte"
    )
    _claim(delivered > checkpoint.committed, "nothing at or past the byte was released before the commit")


def _failover(lab: Lab, proxy: Proxy, vmm: Vmm, content: Content) -> None:
    _title("The PVM is killed during a download; the SVM goes on with the same connection")
    nic = lab.topology.nics[0]
    with Transfer(lab, nic.url(f"/bytes/{_LAST_SIZE}"), rate=_LAST_RATE, marks=2 * MIB) as transfer:
        with _bar("download", _LAST_SIZE) as tick:
            while transfer.bytes < _LAST_SIZE // 2 and transfer.step(Deadline(30)):
                tick(transfer.bytes)
            at = transfer.bytes
            vmm.fail_over()
            while transfer.step(Deadline(30)):
                tick(transfer.bytes)
        result = transfer.result()
    _say(f"PVM killed after {at / MIB:.0f} MiB; the client's longest gap: {result['gap'] * 1e3:.0f} ms")
    _claim(result["sha256"] == content.sha256(_LAST_SIZE), f"SHA-256 {result['sha256'][:16]}… is right")
    _claim(proxy.status()["state"] == "failed-over", "the proxy's state is failed-over")


def _closing(proxy: Proxy, vmm: Vmm) -> None:
    status = proxy.status()
    with proxy.connect() as control:
        [nic] = control.execute("query-stats")["nics"]
    ports = Table("port", box=None)
    for heading in ("frames in", "bytes in", "frames out", "bytes out"):
        ports.add_column(heading, justify="right")
    for role, port in nic["ports"].items():
        counts = (
            f"{port['received']:,}",
            decimal(port["received_bytes"]),
            f"{port['sent']:,}",
            decimal(port["sent_bytes"]),
        )
        ports.add_row(role, *counts)
    table = Table("counted", "", box=None)
    table.add_row("state", status["state"])
    for key in ("epoch", "flows"):
        table.add_row(key, str(status[key]))
    table.add_row("released", f"{nic['released_frames']:,} frames, {decimal(nic['released_bytes'])}")
    table.add_row("held now", f"{status['held_frames']} frames")
    for reason, protocols in nic["divergences"].items():
        for protocol, count in protocols.items():
            if count:
                table.add_row("divergences", f"{count}: {reason}, {protocol}")
    for reason, count in nic["dropped_frames"].items():
        if count:
            table.add_row("dropped", f"{count:,} frames: {reason}")
    for index, made in enumerate(vmm.checkpoints, 1):
        carried = f"connections carried: {made.connections}"
        table.add_row(f"checkpoint {index}", f"{made.reason}: {made.total_ms:.1f} ms, {carried}")
    _title("In all")
    _console.print(ports)
    _console.print()
    _console.print(table)


def _download(lab: Lab, content: Content, size: int, *, version: int = 4) -> dict[str, Any]:
    nic = lab.topology.nics[0]
    with Transfer(lab, nic.url(f"/bytes/{size}", version=version), marks=4 * MIB) as transfer:
        with _bar(f"download, IPv{version}", size) as tick:
            while transfer.step(Deadline(30)):
                tick(transfer.bytes)
        result = transfer.result()
    _claim(result["sha256"] == content.sha256(size), f"SHA-256 {result['sha256'][:16]}… is right")
    return result


@contextmanager
def _bar(what: str, size: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn(f"  {what}"), BarColumn(40), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=_console) as progress:
        task = progress.add_task("", total=size)
        yield lambda count: progress.update(task, completed=count)
        progress.update(task, completed=size)


def _about_the_byte(checkpoints: list[Checkpoint]) -> Checkpoint | None:
    return next((checkpoint for checkpoint in checkpoints if checkpoint.stream_offset == _FLIP_AT), None)


def _first(events: list[dict[str, Any]], name: str, after: int) -> int:
    """When the first event of this name after a time happened, ns (the proxy's stamps are in µs)."""
    found = [stamp(event) for event in events if event["event"] == name and stamp(event) >= after - 1000]
    if not found:
        raise LabError(f"the proxy did not report {name}")
    return found[0]


def _children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _title(text: str) -> None:
    _console.print(f"\n[bold]{text}[/]")


def _say(text: str) -> None:
    _console.print(f"  {text}")


def _claim(holds: bool, text: str) -> None:
    """Something that must be so."""
    if not holds:
        raise LabError(f"not so: {text}")
    _console.print(f"  [green]✓[/] {text}")
