"""The larger searches, one after the other: `make search`."""

import sys
import time

from search.bounds import LARGE
from search.explore import search


def main() -> int:
    """Search; says what was found, and how long it took."""
    failed = False
    for name, bound in LARGE.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        began = time.process_time()
        found = search(bound.play(), bound.start(bound.left, bound.words), limit=20_000_000)
        took = time.process_time() - began
        bad = found.violation or (f"{found.stuck} without service" if found.stuck else "")
        failed |= bool(bad) or not found.whole
        state = bad or ("exhausted" if found.whole else "not exhausted")
        print(f"{name}: {found.states:,} worlds, {state}, {took:.0f} s", flush=True)
        for step in found.trace:
            print(f"    {step}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
