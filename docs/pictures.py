"""Draws the pictures of streams.md, architecture.md and qemu.md: `make reference`.

Each is readable on a light and on a dark page.
"""

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from colo_proxy.checkpoint import diagram
from colo_proxy.checkpoint.machine import State

FOLDER = Path(__file__).parent / "pictures"
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1c2733 }
  .small { font-size: 11px } .page { fill: #ffffff } .line { stroke: #5b6b7b; fill: none; stroke-width: 1.2 }
  .dot { fill: #5b6b7b } .faint { stroke: #d5dce3; fill: none }
  .agreed { fill: #b7e0c2 } .waits { fill: #f6d9a0 } .differs { fill: #f0b3ae } .none { fill: #e4e9ee }
  @media (prefers-color-scheme: dark) {
    text { fill: #dfe7ee } .page { fill: #161c22 } .line { stroke: #93a3b3 }
    .dot { fill: #93a3b3 } .faint { stroke: #37434e }
    .agreed { fill: #2c6b41 } .waits { fill: #7a5a17 } .differs { fill: #8a3a34 } .none { fill: #323d47 }
  }
"""
_LEFT, _UNIT = 96, 34  # px: where position 0 is, and how wide one unit of sequence numbers


@dataclass
class Picture:
    """A drawing of rows, from top to bottom; x counts sequence numbers."""

    title: str
    height: int
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, *, small: bool = False, anchor: str = "middle") -> None:
        """Words at a position."""
        kind = ' class="small"' if small else ""
        self.parts.append(f'<text x="{_x(x)}" y="{y}" text-anchor="{anchor}"{kind}>{words}</text>')

    def row(self, y: float, name: str, pieces: Sequence[tuple[float, float, str, str]]) -> None:
        """A guest's stream: pieces of (first, end, kind, words)."""
        self.parts.append(f'<text x="8" y="{y + 19}">{name}</text>')
        for first, end, kind, words in pieces:
            width = (end - first) * _UNIT
            self.parts.append(
                f'<rect class="{kind}" x="{_x(first)}" y="{y}" width="{width}" height="28" rx="3"/>'
                f'<rect class="line" x="{_x(first)}" y="{y}" width="{width}" height="28" rx="3"/>'
            )
            if words:
                self.text((first + end) / 2, y + 19, words, small=True)

    def mark(self, x: float, y: float, end: float, words: str) -> None:
        """An upright line at a position, with its name on top."""
        self.parts.append(f'<path class="line" stroke-dasharray="4 3" d="M{_x(x)} {y + 6}V{end}"/>')
        self.text(x, y, words, small=True)

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """An arrow from one place to another."""
        self.parts.append(f'<path class="line" marker-end="url(#tip)" d="M{_x(x1)} {y1}L{_x(x2)} {y2}"/>')

    def frame(self, x: int, y: int, width: int, height: int, name: str) -> None:
        """A large box with its name at the top, in pixels."""
        self.parts.append(
            f'<rect class="faint" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>'
            f'<text x="{x + 10}" y="{y + 18}">{name}</text>'
        )

    def box(
        self, x: int, y: int, words: str, width: int = 60, height: int = 26, *, kind: str = "none"
    ) -> None:
        """A part with a name, in pixels."""
        self.parts.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="3"/>'
            f'<rect class="line" x="{x}" y="{y}" width="{width}" height="{height}" rx="3"/>'
        )
        self.note(x + width / 2, y + height / 2 + 4, words, anchor="middle")

    def note(self, x: float, y: float, words: str, *, anchor: str = "start") -> None:
        """Small words, in pixels."""
        self.parts.append(f'<text class="small" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{words}</text>')

    def wire(self, path: str, *, tip: bool = True, dashed: bool = False) -> None:
        """A line in SVG's words (`M8 20H40V60`), with an arrow's tip."""
        style = (' marker-end="url(#tip)"' if tip else "") + (' stroke-dasharray="5 3"' if dashed else "")
        self.parts.append(f'<path class="line"{style} d="{path}"/>')

    def svg(self) -> str:
        """The file."""
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 {self.height}" width="680" '
            f'height="{self.height}" role="img"><title>{self.title}</title><style>{_STYLE}</style>'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto"><path class="line" d="M0 0L7 4L0 8"/></marker></defs>'
            f'<rect class="page" width="680" height="{self.height}" rx="8"/>\n{body}\n</svg>\n'
        )


def _x(position: float) -> float:
    return _LEFT + position * _UNIT


def agreed() -> Picture:
    """The agreed range, and what is released."""
    made = Picture("The agreed range of a TCP stream, and which segments of the PVM are released", 206)
    made.mark(0, 24, 150, "low")
    made.mark(9, 24, 150, "matched")
    made.row(44, "PVM sent", [(0, 4, "agreed", "A"), (4, 9, "agreed", "B"), (9, 13, "waits", "C")])
    made.row(88, "SVM sent", [(0, 6, "agreed", ""), (6, 9, "agreed", "")])
    made.row(146, "client gets", [(0, 4, "agreed", "A"), (4, 9, "agreed", "B")])
    made.text(11, 165, "C waits", small=True)
    made.text(
        8,
        196,
        "The SVM cut the same bytes elsewhere. Only bytes count, so that is no difference.",
        small=True,
    )
    return made


def offset() -> Picture:
    """The two initial sequence numbers, and the offset."""
    made = Picture("The SVM's sequence numbers are moved by isn_svm - isn_pvm into the PVM's space", 190)
    made.row(30, "SVM sent", [(6, 7, "none", "SYN"), (7, 11, "none", "data")])
    made.text(6.5, 24, "isn_svm = 7000", small=True)
    made.row(112, "PVM sent", [(1, 2, "agreed", "SYN"), (2, 6, "agreed", "data")])
    made.text(1.5, 158, "isn_pvm = 2000", small=True)
    made.arrow(6.5, 62, 1.7, 108)
    made.arrow(9, 62, 4.2, 108)
    made.text(9.6, 92, "− 5000: the flow's offset, modulo 2³²", small=True, anchor="start")
    made.text(8, 180, "Acknowledgements and SACK blocks for the SVM are moved the other way.", small=True)
    return made


def differs() -> Picture:
    """A byte that differs."""
    made = Picture("A byte that differs is a divergence at once, and blocks the flow until a commit", 206)
    made.mark(6, 24, 128, "matched = stream_offset")
    made.row(44, "PVM sent", [(0, 6, "agreed", "same"), (6, 7, "differs", "x"), (7, 12, "waits", "more")])
    made.row(88, "SVM sent", [(0, 6, "agreed", "same"), (6, 7, "differs", "y")])
    made.row(146, "client gets", [(0, 6, "agreed", "same")])
    made.text(9.5, 165, "held; checkpoint requested: payload", small=True)
    made.text(
        8, 196, "At the commit the SVM has the PVM's state, x too: then x and more are released.", small=True
    )
    return made


def clamped() -> Picture:
    """Acknowledgement and window, clamped."""
    made = Picture("A released segment acknowledges no more than the SVM has acknowledged", 226)
    made.row(40, "client sent", [(0, 13, "none", "data for the VM")])
    made.row(84, "PVM", [(0, 10, "agreed", "has acknowledged")])
    made.row(128, "SVM", [(0, 7, "agreed", "has acknowledged")])
    made.mark(7, 26, 172, "released ack")
    made.mark(10, 26, 172, "PVM's ack")
    made.text(8.5, 192, "pending", small=True)
    made.text(
        8, 216, "The client discards what is acknowledged, so a VM that takes over must have it.", small=True
    )
    return made


def epochs() -> Picture:
    """The two sides change epoch at different moments."""
    made = Picture("SVM and PVM change epoch at different moments of a checkpoint", 226)
    made.mark(3, 24, 150, "SVM stops")
    made.mark(4.5, 36, 150, "PVM stops")
    made.mark(8, 24, 150, "SVM runs again")
    made.mark(12, 24, 150, "commit; PVM runs")
    made.row(
        56,
        "PVM",
        [
            (0, 4.5, "waits", "released at commit"),
            (4.5, 12, "none", "stopped"),
            (12, 16, "agreed", "compared"),
        ],
    )
    made.row(
        104,
        "SVM",
        [
            (0, 3, "differs", "dropped"),
            (3, 8, "none", "stopped, loads"),
            (8, 16, "agreed", "compared, offset 0"),
        ],
    )
    made.row(162, "client", [(12, 14, "agreed", "held output")])
    made.text(
        8,
        216,
        "Time runs to the right. What the SVM sends before the PVM runs again belongs to the new epoch.",
        small=True,
    )
    return made


_STATES = (  # as a pair lives, from left to right
    State.UNPROTECTED, State.REQUESTED, State.SVM_STOPPED, State.STOPPED, State.SPOILT, State.COMMITTING,
    State.PROTECTED, State.FAILED_OVER, State.OBSERVING,
)  # fmt: skip
_STARTS = (("start", State.REQUESTED), ("vmm = none", State.OBSERVING))


def moves() -> list[tuple[tuple[str, ...], frozenset[State], State]]:
    """The moves of the checkpoint machine: the events that all do the same, from where, to where."""
    sources: dict[tuple[str, State], set[State]] = {}
    for (old, new), whys in diagram.moves().items():
        for why in whys:
            sources.setdefault((why, new), set()).add(old)
    rows: dict[tuple[frozenset[State], State], list[str]] = {}
    for (why, new), olds in sources.items():
        rows.setdefault((frozenset(olds), new), []).append(why)
    return [(tuple(whys), olds, new) for (olds, new), whys in rows.items()]


def states() -> Picture:
    """The checkpoint machine, from its own table: a column for each state, a row for each kind of move."""
    rows = [((why,), frozenset[State](), new) for why, new in _STARTS] + moves()
    first, height = 66, 34
    made = Picture("The states of a checkpoint, and the events that lead from one to another", 0)
    made.height = first + height * len(rows) + 32
    at = {state: 172 + 58 * number for number, state in enumerate(_STATES)}
    for number, (state, x) in enumerate(at.items()):
        y = 22 + 18 * (number % 2)
        made.parts.append(f'<text class="small" x="{x}" y="{y}" text-anchor="middle">{state.name}</text>')
        made.parts.append(f'<path class="faint" d="M{x} {y + 5}V{first + height * len(rows) - 12}"/>')
    for row, (whys, olds, new) in enumerate(rows):
        y = first + height * row
        for line, words in enumerate(lines := textwrap.wrap(", ".join(whys), 24)):
            below = y + 4 + 13 * line - 6.5 * (len(lines) - 1)
            made.parts.append(f'<text class="small" x="8" y="{below:g}">{words}</text>')
        to = at[new]
        starts = [at[old] for old in olds] or [to - 24]
        # From both sides, where there is somebody on both.
        for far in [min(starts)] * (min(starts) < to) + [max(starts)] * (max(starts) > to):
            made.parts.append(f'<path class="line" marker-end="url(#tip)" d="M{far} {y}H{to}"/>')
        for x in sorted(starts) if olds else ():
            made.parts.append(f'<circle class="dot" cx="{x}" cy="{y}" r="3.5"/>')
    made.text(
        8,
        made.height - 10,
        "In a state with a dot, the event to the left leads to the state at the arrow's tip.",
        small=True,
    )
    return made


def hosts() -> Picture:
    """A pair on two hosts, with a tunnel."""
    made = Picture("The proxy and the PVM on host A, the SVM on host B behind a VXLAN tunnel", 196)
    made.frame(82, 8, 378, 180, "host A")
    made.frame(486, 8, 186, 180, "host B")
    made.box(8, 90, "clients")
    for x, words in ((94, "br0"), (164, "colo0")):
        made.box(x, 90, words, 50)
    made.box(234, 44, "colo-proxy", 76, 122, kind="agreed")
    for y, words in ((64, "pvm0"), (130, "svm0")):
        made.box(330, y, words, 50)
    made.box(400, 64, "PVM", 50, kind="waits")
    made.box(496, 130, "vx0", 40)
    made.box(556, 130, "brsvm", 46)
    made.box(620, 130, "svm0", 44)
    made.box(620, 64, "SVM", 44, kind="waits")
    for path in ("M68 103H94", "M144 103H164", "M214 103H234", "M310 77H330", "M380 77H400", "M310 143H330"):
        made.wire(path, tip=False)
    for path in ("M536 143H556", "M602 143H620", "M642 130V90"):
        made.wire(path, tip=False)
    made.wire("M380 143H496", tip=False, dashed=True)
    made.note(420, 136, "VXLAN, eth1", anchor="middle")
    return made


def program() -> Picture:
    """The parts of the program, and the way of a frame through them."""
    made = Picture("The data path, one thread; the control plane; and what crosses between the two", 344)
    made.frame(74, 8, 424, 328, "data path: one thread, no GIL, C structs")
    made.frame(530, 8, 142, 216, "control (asyncio)")
    made.frame(530, 236, 142, 100, "one more thread")
    for y, words in ((58, "uplink"), (142, "primary"), (182, "secondary"), (305, "uplink")):
        made.note(8, y + 4, words)
    for y in (45, 129, 169):
        made.box(86, y, "ports", 44)
        made.wire(f"M68 {y + 13}H86")
        made.box(144, y, "forward", 52)
        made.wire(f"M130 {y + 13}H144")
    made.wire("M168 71V94H206")
    made.note(212, 98, "to the PVM, unchanged, at once")
    for x, words, width in ((206, "nic", 44), (264, "lookup", 48), (326, "aligner", 54)):
        made.box(x, 45, words, width)
        made.wire(f"M{x - 16} 58H{x}")
    made.wire("M380 58H392")
    made.note(396, 62, "to the SVM")
    made.box(206, 129, "nic", 44, 66)
    made.wire("M196 142H206")
    made.wire("M196 182H206")
    made.box(260, 129, "dispatch", 56, 66)
    made.wire("M250 162H260")
    made.box(326, 129, "stream", 56, kind="agreed")
    made.wire("M316 142H326")
    made.box(398, 129, "agreed", 52, kind="agreed")
    made.wire("M382 142H398")
    made.box(326, 169, "datagram", 62, kind="agreed")
    made.wire("M316 182H326")
    made.box(206, 222, "limbo", 44, kind="waits")
    made.wire("M228 195V222")
    made.note(256, 232, "what was sent after a stop")
    made.note(256, 246, "is judged after the commit")
    made.box(398, 292, "release", 52, kind="agreed")
    made.wire("M450 142H474V305H450")
    made.wire("M388 182H424V292")
    made.box(206, 292, "batch of outs", 84)
    made.wire("M398 305H290")
    made.wire("M206 305H62")
    for y, words in (
        (46, "daemon, coordinator"),
        (64, "checkpoint machine"),
        (82, "adapter: the VMM"),
        (112, "control socket"),
        (130, "events, logs, reports"),
    ):
        made.note(540, y, words)
    made.note(540, 274, "metrics (reads only)")
    made.wire("M530 166H498")
    made.note(540, 170, "commands: a ring")
    made.wire("M498 196H530")
    made.note(540, 200, "events: a ring")
    made.wire("M498 300H530", dashed=True)
    made.note(540, 304, "snapshot of counters")
    return made


PICTURES = {
    "agreed": agreed,
    "offset": offset,
    "differs": differs,
    "clamped": clamped,
    "epochs": epochs,
    "states": states,
    "program": program,
    "hosts": hosts,
}


def main() -> int:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw().svg())
    return 0


if __name__ == "__main__":
    sys.exit(main())
