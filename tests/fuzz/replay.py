"""Replay a fuzzer's input through the comparator that Python sees, and check the promise by it.

The fuzzer itself looks at what must hold inside the core (lists, counters, memory); this looks at what comes
out: PYTHONPATH=tests python -m fuzz.replay DIRECTORY
"""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType

from fuzz import build
from models.promise import Flow, Number, Promise, PromiseBroken

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Mode, Port, Word

TICK, WORDS, FINISH = 15, 16, 7  # FINISH is the one word that Word has no name for
ETHERNET = 14


class AnyConnection(Promise):
    """Which of the SVM's connections stands for one of the PVM's is the core's to say: here, any may.

    Of the same addresses, port of the client and VLAN: guests that open a connection choose ports of their
    own, and open it again at different times.
    """

    def __init__(self, mode: Mode) -> None:
        super().__init__()
        self.holding, self.passing = mode is Mode.HOLD, mode is Mode.PASS
        self.failed_over = mode is Mode.FAILED_OVER

    def readings(self, flow: Flow) -> Iterator[tuple[Flow, Number, int]]:
        """Every incarnation of the SVM on every port of its own."""
        for candidate in list(self.svm.acks | self.svm.marks):
            if (*candidate[:4], *candidate[5:]) == (*flow[:4], *flow[5:]):
                for number, isns in enumerate([[0], *self.svm.first[candidate]]):
                    for at in range(len(isns)):
                        for base in (0, *chain.from_iterable(self.pvm.first[flow])):
                            yield candidate, (number, at), base


def broken_promise(target: ModuleType, data: bytes) -> str | None:
    """What came out that should not have; None where all is right, or the input only observes."""
    settings, policies = target.settings(data)
    if settings["observe"] or policies:
        return None
    comparator = Comparator(**settings)
    promise = AnyConnection(Mode(settings["mode"]))
    for what, now, frame in target.story(data):
        trusted = comparator.counters["retransmissions_unverified"]
        if what == TICK:
            comparator.tick(now)
        elif what == WORDS + FINISH:
            comparator.finish(now)
        elif what >= WORDS:
            word = Word(what - WORDS).name.lower()
            getattr(comparator, word)(now)
            promise.event(word)
        else:
            side = Port(what).name.lower()
            if len(frame) >= 10 + ETHERNET:
                promise.event(side, frame[10:])
            getattr(comparator, side)(frame[10:], now, frame[:10])
        # Nothing is promised of retransmissions that are trusted (T14).
        promise.unverified = comparator.counters["retransmissions_unverified"] > trusted
        for item in comparator.take():
            try:
                promise.check(item)
            except PromiseBroken as error:
                return str(error)
    return None


def main() -> int:
    target = build.load_module()
    paths = sorted(Path(sys.argv[1]).iterdir())
    broken = {path.name: why for path in paths if (why := broken_promise(target, path.read_bytes()))}
    for name, why in broken.items():
        print(f"{name}: {why[:200]}")
    print(f"{len(paths)} inputs, {len(broken)} reports")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
