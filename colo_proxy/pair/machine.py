"""The right of one host to speak for the VM. No I/O, no clock, no randomness: events in, actions out.

How it works. A `Situation` is all that the machine knows; it is a value, and so is what comes of it:
`feed(situation, event)` gives the next situation and the actions to carry out, in order. It takes two steps.
`sign` says what the event means to this host (an answer that names this claim's nonce is `WON`), and the
row of `table.TABLE` for state and sign says what becomes of it. Where there is no row, nothing changes.

What holds in every state:

- Only an answer to the question that stands is an answer. Each question has a tag of its own; an answer
  takes it away. `Again` repeats a standing question, with its tag, or asks what the store holds.
- `SOLO` comes of a swap that was won, of the peer's `relinquish`, of a pairing that the store could not
  name yet, or of an operator's `force`: never of what is read.
- A claim keeps its nonce, however often and against whatever record it is asked. What bears it is won.
- The secondary's pairing is known to this process alone. A process that starts has none, so a secondary's
  proxy that was restarted never claims.
"""

from collections.abc import Callable
from typing import NamedTuple

from colo_proxy.pair import events as ev
from colo_proxy.pair.actions import (
    Action,
    Alarm,
    Changed,
    Cut,
    Gate,
    KillVm,
    Note,
    Read,
    Refused,
    Right,
    Swap,
    TakeVm,
    Tell,
)
from colo_proxy.pair.record import Record
from colo_proxy.pair.table import ASK_ON, CLAIMS, RIGHTS, ROLES, TABLE, Do, Row, Sign, State

Fresh = Callable[[], str]  # gives a UUID that nobody has had


class Situation(NamedTuple):
    """All that one host knows of the right."""

    host: str
    peer: str
    state: State = State.STARTING
    record: Record | None = None  # the newest that this process has read or written
    question: Read | Swap | None = None  # what stands unanswered
    claim: Record | None = None  # what the last swap wants to write
    pairing: str | None = None  # that this process is in
    vm: str | None = None  # the pairing that the VM has entered, running and answering since; None: none
    consent: str | None = None  # a pairing of which the peer has no VM
    carrier: bool = True
    answered: bool = False  # the store, when it was asked last
    highest: int = 0  # these three are on disk, or about to be; see `actions.Note`
    won: str | None = None
    forced: int = 0


Step = tuple[Situation, list[Action]]

# The question goes on where the next state wants the same of the store.
_SAME_QUESTION = {(State.CLAIMING, State.SETTLING), (State.SUSPECTING, State.FROZEN)}

# Events whose sign does not depend on the situation.
_PLAIN: dict[type, Sign] = {
    ev.Suspected: Sign.SUSPECTED,
    ev.Returned: Sign.RETURNED,
    ev.SilenceOver: Sign.SILENCE,
    ev.CutDone: Sign.CUT_DONE,
    ev.Gated: Sign.GATED,
    ev.Ready: Sign.READY,
    ev.NotReady: Sign.NOT_READY,
    ev.Loaded: Sign.LOADED,
    ev.VmDead: Sign.VM_DEAD,
    ev.VmGone: Sign.VM_GONE,
    ev.KillHangs: Sign.KILL_HANGS,
    ev.Switchover: Sign.SWITCHOVER,
    ev.Relinquish: Sign.RELINQUISH,
    ev.Noted: Sign.NOTED,
    ev.YieldOver: Sign.YIELD_OVER,
    ev.Unyielded: Sign.UNYIELDED,
    ev.Delayed: Sign.DELAYED,
}
# Words of the peer; those of the first group are about the pairing that this process is in.
_OF_THE_PAIRING = {"yield": Sign.YIELD, "please-yield": Sign.PLEASE_YIELD, "relinquish": Sign.RELINQUISHED}
_WORDS = {"ask": Sign.ASKED, "ask-init": Sign.ASKED_INIT, "consent": Sign.CONSENT}
_TELLS = {
    Do.YIELD: "yield",
    Do.PLEASE_YIELD: "please-yield",
    Do.RELINQUISH: "relinquish",
    Do.ASK: "ask",
    Do.NO_VM: "no-vm",
    Do.ASK_INIT: "ask-init",
    Do.TELL_CONSENT: "consent",
}
_ORDERS: dict[Do, Action] = {Do.CUT: Cut(), Do.TAKE_VM: TakeVm(), Do.KILL_VM: KillVm()}
_OPERATORS = (ev.Init, ev.Switchover, ev.Relinquish, ev.Force)


class Machine:
    """The rules; what they are applied to is the caller's. `fresh` gives nonces and tags."""

    table = TABLE
    rights = RIGHTS

    def __init__(self, fresh: Fresh) -> None:
        self._fresh = fresh

    def start(self, host: str, peer: str, note: Note, vm: str | None) -> Step:
        """A process begins: what the disk says, and the pairing that this host's VM has entered, if any.

        `vm` is None for a VM that was started since, or that does not answer.
        """
        situation = Situation(host, peer, vm=vm, highest=note.highest, won=note.won, forced=note.forced)
        out: list[Action] = [Gate(Right.NONE)]
        return self._read(situation, out), out

    def feed(self, situation: Situation, event: ev.Event) -> Step:
        """What comes of an event: the next situation, and the actions, in order."""
        if isinstance(event, ev.Again):
            return self._again(situation)
        if isinstance(event, ev.Answer | ev.Unanswered) and not self.stands(situation, event.tag):
            return situation, []
        sign = self.sign(situation, event)
        row = self.table[situation.state].get(sign) if sign else None
        known = self._learn(situation, event, sign)
        if row is None:
            out = self._notes(situation, known)
            if isinstance(event, _OPERATORS):
                out.append(Refused(self.refusal(situation, event)))
            return known, out
        return self._move(situation, known, row, event, sign)

    # What an event means.

    def stands(self, situation: Situation, tag: str) -> bool:
        """Whether this is the question that waits for an answer."""
        return situation.question is not None and situation.question.tag == tag

    def sign(self, s: Situation, event: ev.Event) -> Sign | None:  # noqa: PLR0911
        """The event as this host must understand it, or None."""
        match event:
            case ev.Answer(_, record):
                return self.reading(s, record)
            case ev.Unanswered():
                return Sign.UNKNOWN_FORCED if s.forced and s.state is State.STARTING else Sign.UNKNOWN
            case ev.Said(word, pairing):
                return self._word(s, word, pairing)
            case ev.Begin():
                return Sign.BEGIN if s.answered else None
            case ev.Carrier(up):
                return Sign.CARRIER if up else Sign.NO_CARRIER
            case ev.Init(switched_off):
                return Sign.INIT_ALONE if switched_off == s.peer else Sign.INIT if not switched_off else None
            case ev.Force(generation, switched_off):
                return Sign.FORCE if switched_off == s.peer and generation >= s.highest > 0 else None
            case _:
                return _PLAIN[type(event)]

    def reading(self, s: Situation, record: Record | None) -> Sign:  # noqa: PLR0911
        """What it means that the store holds this."""
        if s.forced and (record is None or record.g <= s.forced or self._entered(s, record)):
            return Sign.FORCEABLE
        if record is None:
            return Sign.OLD if s.highest else Sign.ABSENT
        if record.g < s.highest:
            return Sign.OLD
        if s.claim is not None and record.nonce == s.claim.nonce:
            return Sign.WON
        if record.owner != s.host:
            held = record.paired and record.pairing == s.pairing == s.vm
            return Sign.HELD if held else Sign.THEIRS
        if not self.sure(s, record):
            return Sign.UNSURE
        silent = s.state in (State.SUSPECTING, State.FROZEN)
        return Sign.DARK if silent and not s.carrier else Sign.MINE

    def _entered(self, s: Situation, record: Record) -> bool:
        """Whether this is the pairing that the VM has entered: it knows all that was said in it."""
        return record.paired and record.pairing == s.vm

    def sure(self, s: Situation, record: Record) -> bool:
        """Whether this owner may go on with the VM that it has: nobody else has one that knows more."""
        if record.pairing is not None and record.pairing in (s.vm, s.consent):
            return True
        return not record.paired and (record.pairing is None or record.nonce == s.won)

    def _word(self, s: Situation, word: str, pairing: str) -> Sign | None:
        if word in _OF_THE_PAIRING:
            return _OF_THE_PAIRING[word] if pairing == s.pairing else None
        if word == "no-vm":
            return Sign.NO_VM if s.record is not None and pairing == s.record.pairing else None
        return _WORDS.get(word)

    def refusal(self, s: Situation, event: ev.Event) -> str:
        """Why an operator's wish has no row, in words."""
        if isinstance(event, ev.Force | ev.Init) and event.switched_off not in ("", s.peer):
            return f"{event.switched_off} is not the other host: that is {s.peer}"
        if isinstance(event, ev.Force) and event.generation < s.highest:
            return f"this host knows generation {s.highest}, which is newer than {event.generation}"
        return f"not while {s.state.name.lower()}: {s.state.value}"

    # What becomes of it.

    def _learn(self, s: Situation, event: ev.Event, sign: Sign | None) -> Situation:
        """What is known after the event, whatever the state."""
        match event:
            case ev.Answer(_, record):
                s = s._replace(question=None, answered=True)
                if record is not None and record.g >= s.highest:
                    s = s._replace(record=record, highest=record.g)
                elif sign is Sign.FORCEABLE:
                    s = s._replace(record=record)
                if sign is Sign.WON and record is not None and not record.paired:
                    s = s._replace(won=record.nonce, forced=0)
                return s
            case ev.Unanswered():
                return s._replace(answered=False)
            case ev.VmDead() | ev.VmGone():
                return s._replace(vm=None)
            case ev.Carrier(up):
                return s._replace(carrier=up)
            case _:
                return s

    def _move(self, old: Situation, s: Situation, row: Row, event: ev.Event, sign: Sign | None) -> Step:
        if row.state is not old.state and (old.state, row.state) not in _SAME_QUESTION:
            s = s._replace(question=None)
        if row.state not in CLAIMS:
            s = s._replace(claim=None)
        s = s._replace(state=row.state)
        right, out = self.rights[row.state], []
        gate: list[Action] = [Gate(right)] if right is not self.rights[old.state] else []
        if Do.GATE not in row.do:
            out += gate
        for do in row.do:
            if do is Do.GATE:
                out += gate
            else:
                s = self.do(s, do, event, out)
        why = sign.value if sign else ""
        if Do.ALARM in row.do:
            out.append(Alarm(f"{row.state.value} ({why})"))
        if (ROLES[old.state], self.rights[old.state]) != (ROLES[s.state], right):
            out.append(Changed(ROLES[s.state], right, s.highest, why))
        return s, self._notes(old, s) + out

    def do(self, s: Situation, do: Do, event: ev.Event, out: list[Action]) -> Situation:  # noqa: PLR0911
        """One thing that a row does."""
        match do:
            case Do.READ:
                return self._read(s, out)
            case Do.CLAIM | Do.TAKE:
                return self._swap(s, self._alone(s), out)
            case Do.CREATE:
                return self._swap(
                    s._replace(record=None), Record(1, "solo", s.host, None, self._fresh()), out
                )
            case Do.REASK:
                return self._swap(s, self._again_alone(s), out)
            case Do.PAIR:
                return self._swap(s, Record(0, "pair", s.host, s.pairing, self._fresh()), out)
            case Do.ENTER if isinstance(event, ev.Begin | ev.Loaded):
                return s._replace(pairing=event.pairing, vm=event.pairing)
            case Do.LEAVE:
                return s._replace(pairing=None)
            case Do.CONSENT if isinstance(event, ev.Said):
                return s._replace(consent=event.pairing)
            case Do.FORCE if isinstance(event, ev.Force):
                return s._replace(forced=event.generation, claim=None)
            case _ if do in _ORDERS:
                out.append(_ORDERS[do])
            case _ if do in _TELLS:
                out.append(Tell(_TELLS[do], self._about(s, do, event)))
        return s

    def _about(self, s: Situation, do: Do, event: ev.Event) -> str:
        """The pairing that a word is about."""
        if do is Do.NO_VM and isinstance(event, ev.Said):
            return event.pairing
        if do is Do.ASK:
            return (s.record.pairing if s.record else None) or ""
        return s.pairing or ""

    # Questions.

    def _again(self, s: Situation) -> Step:
        out: list[Action] = []
        if s.state not in ASK_ON:
            return s, out
        if s.question is not None:
            out.append(s.question)
        else:
            s = self._read(s, out)
        if s.state is State.ASKING:
            out.append(Tell("ask", self._about(s, Do.ASK, ev.Again())))
        return s, out

    def _read(self, s: Situation, out: list[Action]) -> Situation:
        question = Read(self._fresh())
        out.append(question)
        return s._replace(question=question)

    def _swap(self, s: Situation, new: Record, out: list[Action]) -> Situation:
        """Ask for this record in the place of what was read."""
        new = new._replace(g=s.record.g + 1 if s.record else 1)
        question = Swap(self._fresh(), s.record, new)
        out.append(question)
        return s._replace(question=question, claim=new)

    def _alone(self, s: Situation) -> Record:
        return Record(0, "solo", s.host, self._ended(s), self._fresh())

    def _again_alone(self, s: Situation) -> Record:
        nonce = s.claim.nonce if s.claim else self._fresh()
        return Record(0, "solo", s.host, self._ended(s), nonce)

    def _ended(self, s: Situation) -> str | None:
        """The pairing whose VM must go on, for the record: none where this host is known to have won."""
        if s.record is None or (not s.record.paired and s.record.nonce == s.won):
            return None
        return s.record.pairing

    def _notes(self, old: Situation, s: Situation) -> list[Action]:
        note = Note(s.highest, s.won, s.forced)
        return [note] if note != Note(old.highest, old.won, old.forced) else []
