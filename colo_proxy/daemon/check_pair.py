"""What two hosts need of this one, as far as it can be known without the other."""

import asyncio
import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from uuid import uuid4

from colo_proxy.config import Arbiter, TwoHosts
from colo_proxy.daemon.check_certificates import certificate_problems
from colo_proxy.daemon.problem import Problem
from colo_proxy.pair import note
from colo_proxy.pair.actions import Read, Swap
from colo_proxy.pair.arbiter import ask_once
from colo_proxy.pair.places import trial_places
from colo_proxy.pair.record import Record
from colo_proxy.pair.store import DirectoryPlace, Place, StoreError

_WITHIN_S = 5.0
_FEWEST = 3  # members of etcd that survive the death of one
_NFS = ("nfs", "nfs4")
_NFS_OPTIONS = ("noac", "lookupcache=none")
_LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "ramfs", "overlay", "f2fs")
_VOLATILE = ("tmpfs", "ramfs")


def pair_problems(two: TwoHosts, name: str) -> Iterator[Problem]:
    """Of `[pair]` and `[arbiter]`. Blocks for some seconds where the arbiter does not answer."""
    pair, arbiter = two.pair, two.arbiter
    if pair.insecure:
        what = "the link is plain TCP: who is on its way can read it, and take the right to speak"
        yield Problem("warning", what, "[pair] insecure", "give certificate, key and authority instead")
    else:
        files = (pair.certificate, pair.key, pair.authority)
        yield from certificate_problems("[pair]", *files, host=pair.host, other=pair.peer_host)
    yield from _state(pair.state_dir)
    if arbiter.certificate:
        yield from certificate_problems("[arbiter]", arbiter.certificate, arbiter.key, arbiter.authority)
    yield from _members(arbiter)
    yield from _answers(two, name)


def _state(path: str) -> Iterator[Problem]:
    where = f"[pair] state_dir {path}"
    if not Path(path).is_dir():
        yield Problem("error", "there is no such directory", where, f"mkdir -p -m 700 {path}")
        return
    if not os.access(path, os.W_OK | os.X_OK):
        remedy = "run as its owner, or give the proxy's user the right to write"
        yield Problem("error", "it is not writable", where, remedy)
    try:
        note.read(path)
    except note.NoteError as error:
        what, _, remedy = str(error).partition(": ")[2].partition("; ")
        yield Problem("error", what, where, remedy)
    kind, _ = mount(path)
    if kind in _VOLATILE:
        what = f"it is on a {kind}, which a reboot empties: this host would forget what it knows of the right"
        yield Problem("error", what, where, "name a directory on a disk")


def _members(arbiter: Arbiter) -> Iterator[Problem]:
    if arbiter.kind != "etcd":
        return
    if 1 < len(arbiter.endpoints) < _FEWEST:
        what = "two members of etcd are worse than one: the death of either stops it"
        remedy = "have three on machines that do not fail together, and name them all"
        yield Problem("warning", what, "[arbiter] endpoints", remedy)
    for endpoint in arbiter.endpoints:
        if endpoint.startswith("http:") and not _loopback(urlsplit(endpoint).hostname or ""):
            what = "it is not encrypted: who is on its way can take the right to speak"
            yield Problem("warning", what, f"[arbiter] endpoints {endpoint}", "write https://")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answers(two: TwoHosts, name: str) -> Iterator[Problem]:
    """Does each endpoint swap? A key of this host's own is swapped, never the record."""
    places = trial_places(two.arbiter, name, two.pair.host)
    failed = asyncio.run(_try_all(places, two.pair.host))
    for place, why in zip(places, failed, strict=True):
        if isinstance(place, DirectoryPlace):
            where = f"[arbiter] path {two.arbiter.path}"
            if why:
                remedy = "mount it, and give the proxy's user the right to write"
                yield Problem("error", f"it does not swap a record: {why}", where, remedy)
            else:
                yield from _shared(two.arbiter.path, where)
        elif why:
            level: Literal["error", "warning"] = "error" if all(failed) else "warning"
            remedy = "start it, or look at its log; a claim is asked of all that answer"
            yield Problem(level, f"it does not swap a key: {why}", f"[arbiter] {place.endpoint}", remedy)


async def _try_all(places: list[Place], host: str) -> list[str]:
    return list(await asyncio.gather(*(_try(place, host) for place in places)))


async def _try(place: Place, host: str) -> str:
    """Why this endpoint does not swap; "": it does."""
    try:
        found = (await ask_once([place], Read("read"), _WITHIN_S)).record
        new = Record(found.g + 1 if found else 1, "solo", host, None, str(uuid4()))
        await ask_once([place], Swap("swap", found, new), _WITHIN_S)
    except StoreError as error:
        return str(error)
    return ""


def _shared(path: str, where: str) -> Iterator[Problem]:
    """Is the directory, which has just answered, one that both hosts see at once?"""
    kind, options = mount(path)
    if kind in _NFS:
        missing = [option for option in _NFS_OPTIONS if option not in options]
        if missing:
            what = f"NFS is mounted without {' and '.join(missing)}: a host may read what is old"
            yield Problem("error", what, where, f"mount it with {','.join(_NFS_OPTIONS)} on both hosts")
    elif kind in _LOCAL:
        what = f"it is on a file system of this host ({kind}); both hosts must see the same directory"
        yield Problem("warning", what, where, "mount a shared one there, unless both run on this machine")


def mount(path: str) -> tuple[str, frozenset[str]]:
    """The type and the options of the file system that a directory is on, by its mount ID; proc(5)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        info = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    finally:
        os.close(descriptor)
    found = re.search(r"^mnt_id:\s*(\d+)$", info, re.MULTILINE)
    return mounted(Path("/proc/self/mountinfo").read_text(), found[1] if found else "")


def mounted(table: str, identity: str) -> tuple[str, frozenset[str]]:
    """The type and options of a mount, from /proc/self/mountinfo; "" where it is not there."""
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if fields and fields[0] == identity:
            kind, _, of_all = after.split(" ", 2)
            return kind, frozenset((*fields[5].split(","), *of_all.split(",")))
    return "", frozenset()
