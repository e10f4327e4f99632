"""Tell the story of a fuzzer's input to a person: PYTHONPATH=tests python -m fuzz.show FILE"""

import sys
from pathlib import Path

from fuzz import build
from scapy.layers.l2 import Ether

from colo_proxy.vocabulary import Port, Word

TICK = 15
WORDS = 16
FINISH = 7  # the one word that Word has no name for


def main() -> None:
    target = build.load_module()
    data = Path(sys.argv[1]).read_bytes()
    print(*target.settings(data))
    for what, now, frame in target.story(data):
        if what >= WORDS:
            print(f"{now / 1e9:12.6f}  {'FINISH' if what - WORDS == FINISH else Word(what - WORDS).name}")
        elif what == TICK:
            print(f"{now / 1e9:12.6f}  tick")
        else:
            frame_text = Ether(frame[10:]).summary() if len(frame) >= 24 else frame[10:].hex()
            print(f"{now / 1e9:12.6f}  {Port(what).name.lower():9}  {frame_text}")
    print("broken:", target.run(data))


if __name__ == "__main__":
    main()
