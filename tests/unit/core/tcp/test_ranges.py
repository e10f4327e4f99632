"""`Ranges` against a set of positions, which is obviously right."""

from hypothesis import given
from hypothesis import strategies as st

from colo_proxy.core.tcp.ranges import Positions

ROOM = 48
M32 = 2**32


class Model:
    """The same as a set. A position finds room if it continues a run, or if there are fewer than ROOM."""

    def __init__(self) -> None:
        self.positions: set[int] = set()

    def runs(self) -> list[tuple[int, int]]:
        begins = sorted(p for p in self.positions if p - 1 not in self.positions)
        ends = sorted(p + 1 for p in self.positions if p + 1 not in self.positions)
        return list(zip(begins, ends, strict=True))

    def add(self, begin: int, end: int) -> bool:
        found_room = True
        for at in range(begin, end):
            if at in self.positions:
                continue
            if at - 1 in self.positions or len(self.runs()) < ROOM:
                self.positions.add(at)
            else:
                found_room = False
        return found_room

    def gaps(self, begin: int, end: int) -> list[tuple[int, int]]:
        outside = Model()
        outside.positions = set(range(begin, end)) - self.positions
        return outside.runs()


INTERVALS = st.tuples(st.integers(0, 250), st.integers(1, 12)).map(lambda each: (each[0], sum(each)))
STEPS = st.lists(st.tuples(st.sampled_from(("add", "add", "add", "look", "cut")), INTERVALS), max_size=120)


@given(STEPS, st.integers(0, M32 - 1), st.booleans())
def test_it_is_a_set_of_positions(steps: list[tuple[str, tuple[int, int]]], base: int, crowded: bool) -> None:
    ours, model = Positions(), Model()
    if crowded:  # nearly no room from the beginning
        steps = [("add", (5 * n, 5 * n + 2)) for n in range(ROOM - 1)] + steps
    for what, (begin, end) in steps:
        at, until = (base + begin) % M32, (base + end) % M32
        if what == "add":
            assert ours.add(at, until) == model.add(begin, end)
        elif what == "cut":
            ours.cut(at)
            model.positions = {p for p in model.positions if p >= begin}
        else:
            assert ours.hold(at, until) == (set(range(begin, end)) <= model.positions)
            gaps = [((base + b) % M32, (base + e) % M32) for b, e in model.gaps(begin, end)]
            assert ours.gaps(at, until) == gaps
        assert ours.each() == [((base + b) % M32, (base + e) % M32) for b, e in model.runs()]


def test_a_full_list_takes_what_continues_a_range() -> None:
    ours = Positions()
    for n in range(ROOM):
        assert ours.add(10 * n, 10 * n + 2)
    assert not ours.add(5, 6)
    assert ours.add(2, 4)
    assert not ours.add(8, 16)  # 8 and 9 find no room, 12 to 15 continue a range
    assert ours.each()[:2] == [(0, 4), (10, 16)]
    assert ours.add(4, 10)  # and now there is room for another
    assert ours.add(1000, 1001)
    assert len(ours.each()) == ROOM
