"""`colo-proxy flows` of very many flows, against a control socket that answers for a proxy."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from colo_proxy.control import protocol
from colo_proxy.control.client import FEW


def flow(number: int) -> dict[str, Any]:
    counts = dict.fromkeys(("held_frames", "held_bytes", "matched_bytes", "divergences", "idle_ms"), 0)
    return {"id": number, "nic": 0, "flow": f"udp {number}", "blocked": False, **counts}


def serve(listener: socket.socket, count: int, priorities: list[int]) -> None:
    """Answer the one client's `query-flows`, and note its priority at each."""
    peer, _ = listener.accept()
    with peer, peer.makefile("rwb") as file:
        (pid,) = struct.unpack_from("i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        file.write(protocol.greeting("0.1.0", "web1"))
        file.flush()
        for line in file:
            asked = json.loads(line)["arguments"]
            priorities.append(os.getpriority(os.PRIO_PROCESS, pid))
            first = asked["after"] + 1
            page = [flow(number) for number in range(first, min(first + asked["limit"], count + 1))]
            file.write(json.dumps({"return": page}).encode() + b"\r\n")
            file.flush()


def listed(directory: Path, count: int) -> tuple[list[int], list[int]]:
    """The ids that the command prints, and its priority when it asked for each page."""
    path = str(directory / "ctl")
    priorities: list[int] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener, count, priorities))
        thread.start()
        words = [sys.executable, "-m", "colo_proxy.cli.main", "flows", "--json", "--socket", path]
        done = subprocess.run(words, check=True, capture_output=True, timeout=60)
        thread.join()
    return [one["id"] for one in json.loads(done.stdout)], priorities


def test_a_long_listing_has_every_flow_once_and_gives_way(tmp_path: Path) -> None:
    ids, priorities = listed(tmp_path, 2 * FEW + 1)
    assert ids == list(range(1, 2 * FEW + 2))
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert (priorities[0], priorities[-1]) == (mine, min(mine + 10, 19))


def test_a_short_one_does_not(tmp_path: Path) -> None:
    ids, priorities = listed(tmp_path, FEW - 1)
    assert ids == list(range(1, FEW))
    assert set(priorities) == {os.getpriority(os.PRIO_PROCESS, 0)}
