"""The other host as a process of its own, which a test can stop: it says what it has received."""

import sys
from pathlib import Path

from unit.link.hosts import Authority, host, receive

from colo_proxy.link.words import Dropped, Frame, Kind, Mark


def main(folder: str, port: int) -> None:
    authority = Authority.__new__(Authority)
    authority.folder, authority.path = Path(folder), Path(folder) / "ca.crt"
    with host(authority, "a", port) as a:
        channel = a.opened()
        print("open", flush=True)
        count = 0
        while True:
            [word] = receive(channel)
            match word:
                case Frame(nic, _, data) if int.from_bytes(data[:4]) == count and nic == count % 100:
                    count += 1
                case Dropped(frames, _):
                    print(f"{count} frames in order\n{frames} dropped", flush=True)
                case Mark(Kind.LOADED, epoch):
                    print(f"loaded {epoch}", flush=True)
                    break
                case _:
                    sys.exit(f"unexpected: {word!r:.100}")
        a.ended()
