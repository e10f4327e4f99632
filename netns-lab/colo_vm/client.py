"""A client of the guest, run inside the client namespace: `python client.py URL [--pace N] [--mark N]`.

Prints one JSON object: `bytes`, `sha256`, `seconds`, `longest_silence` (the longest time in seconds without
a byte, while it wanted one). With `--mark N` a line `mark` comes first, when N bytes have been read.
Standard library alone, so that it starts fast.
"""

import argparse
import hashlib
import http.client
import json
import sys
import time
from urllib.parse import urlsplit

PIECE = 1 << 16


def fetch(url: str, pace: int, mark: int) -> dict[str, object]:
    """Read an URL to its end. `pace` 0: as fast as it comes."""
    where = urlsplit(url)
    path = where.path + (f"?{where.query}" if where.query else "")
    began = time.monotonic()
    connection = http.client.HTTPConnection(where.hostname or "", where.port or 80, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    digest, size, silence = hashlib.sha256(), 0, time.monotonic() - began
    expected = int(response.headers.get("Content-Length", -1))
    while True:
        asked = time.monotonic()
        piece = response.read1(PIECE)
        silence = max(silence, time.monotonic() - asked)
        if not piece:
            break
        digest.update(piece)
        if size < mark <= size + len(piece):
            print("mark", flush=True)
        size += len(piece)
        if pace:
            time.sleep(max(0.0, began + size / pace - time.monotonic()))
    return {
        "bytes": size,
        "complete": response.status == 200 and expected in (-1, size),
        "sha256": digest.hexdigest(),
        "seconds": time.monotonic() - began,
        "longest_silence": silence,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--pace", type=int, default=0, help="read so many bytes a second")
    parser.add_argument("--mark", type=int, default=0, help="say so when this many bytes have been read")
    parser.add_argument("--times", type=int, default=1, help="do it so often, one after the other")
    arguments = parser.parse_args()
    for _ in range(arguments.times):
        try:
            print(json.dumps(fetch(arguments.url, arguments.pace, arguments.mark)), flush=True)
        except (OSError, http.client.HTTPException) as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
