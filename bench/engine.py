"""Our data path alone on three UNIX sockets, as QEMU's colo-compare has them.

python -m bench.engine PRIMARY SECONDARY OUT
"""

import socket
import sys

from colo_proxy.datapath.engine import Engine
from colo_proxy.datapath.messages import PortSpec
from colo_proxy.words import Mode


def main(paths: list[str]) -> None:
    """Listen, take one peer on each, compare until killed."""
    listening, ends = [], []
    for path in paths:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
        sock.listen(1)
        listening.append(sock)
    for sock in listening:
        end, _ = sock.accept()
        end.setblocking(False)
        ends.append(end)
    primary, secondary, out = (
        PortSpec(end.fileno(), "stream", name, vnet=False)
        for end, name in zip(ends, ("primary", "secondary", "out"), strict=True)
    )
    engine = Engine(mode=Mode.COMPARE, max_flows=200_000)
    engine.add_nic(out, primary, secondary)
    engine.run()


if __name__ == "__main__":
    main(sys.argv[1:])
