"""The states of the right to speak, and every transition. docs/pair-protocol.md is made from this.

A row stands for one sign in one state. A sign is an event as this host must understand it: an answer of the
store, for example, is `WON`, `MINE`, `THEIRS` ... (`machine.sign`). What a row does happens in order; a row
that leads to another right begins with the gate, where it does not say otherwise (`Do.GATE`). A sign without
a row changes nothing: no permission comes of it.
"""

from enum import Enum
from typing import NamedTuple

from colo_proxy.pair.actions import Right


class State(Enum):
    """Where this host stands."""

    # nobody's
    STARTING = "the process has started and reads the store"
    EMPTY = "there is no record, and this host has never seen one: `init`"
    FOUNDING = "an operator wants the record created; the peer is asked"
    STALE = "the store has no record, or one older than this host knows: an operator must look"
    ASKING = "this host is the owner and may lack the VM that knows everything: the peer is asked"
    REGAINING = "a claim is under way; this host's output is not wanted before it is won"
    LOST = "another host may speak: the VM is killed"
    SPARE = "no VM of consequence: this host offers itself as secondary"
    # the primary's
    SOLO = "alone, and the store knows it"
    SETTLING = "alone, and the store does not know it yet"
    FORCING = "an operator has said so; it is noted on disk before anything leaves"
    FORCED = "alone, by an operator's word, until the store is back"
    ENTERING = "the PVM's first checkpoint of a pairing; the data path is about to compare"
    COMPARING = "the data path compares; the pairing is not ready"
    PAIRING = "the swap to `pair` is under way; it may be applied at any time"
    PAIRED = "there is a secondary that may claim"
    SUSPECTING = "the peer is not heard; the store is read"
    FROZEN = "neither the peer nor the store is heard"
    DARK = "the peer is not heard and the uplink has no carrier: the other goes first"
    CLAIMING = "this primary claims to be alone"
    YIELDING = "this primary gives its right up; the data path is about to shut"
    YIELDED = "the secondary was told to claim"
    # the secondary's
    SECONDARY = "this host's VM is the SVM of a pairing"
    WISHING = "an operator wants this secondary to take over; the primary is asked to yield"
    DOUBTING = "the primary is not heard; the store is read"
    READY = "the store names this pairing; the primary's quiet must be certain"
    CUTTING = "this host's end of the stream is being shut"
    CUT = "it is shut; the silence is counted from the last sign before that"
    GRANTED = "the primary is quiet for ever in this pairing; the store is read"
    TAKING = "this secondary claims"
    NOTING = "it has won, and notes it on disk before anything leaves"


class Sign(Enum):
    """An event, as this host must understand it."""

    # what the store holds
    WON = "the record of this claim"
    MINE = "this host's, and it has the VM, or nobody has a better one"
    DARK = "as MINE, while the peer is silent and the uplink has no carrier"
    UNSURE = "this host's, but another may have the VM that knows everything"
    HELD = "the peer's, paired with the SVM of this host"
    THEIRS = "the peer's, otherwise"
    ABSENT = "none, and this host has never known one"
    OLD = "none, or an older one than this host has known"
    FORCEABLE = "none that an operator's `force` does not go past"
    UNKNOWN = "no answer"
    UNKNOWN_FORCED = "no answer, and the disk says that an operator has forced this host"
    # of the link
    SUSPECTED = "no sign of the peer for `timeout_ms`, or the stream ended"
    RETURNED = "the peer is heard on the pairing's stream again"
    SILENCE = "`timeout_ms` + 30 ms since the last sign of the primary"
    CUT_DONE = "this host's end of the stream is shut"
    YIELD = "the primary yields"
    PLEASE_YIELD = "the secondary asks the primary to yield"
    RELINQUISHED = "the secondary has given its SVM up without having claimed"
    NO_VM = "the peer has no VM of that pairing"
    ASKED = "the peer asks for a VM of a pairing"
    ASKED_INIT = "the peer asks whether a record is known"
    CONSENT = "the peer knows of no record"
    # of this host
    GATED = "the data path has applied the gate"
    BEGIN = "a pairing begins with the PVM's stop"
    READY = "the SVM has loaded, the commit is applied"
    NOT_READY = "the pairing's first checkpoint came to nothing"
    LOADED = "this host's VM has loaded the primary's state"
    VM_DEAD = "the VM is dead, or hangs"
    VM_GONE = "the killed VM is gone"
    KILL_HANGS = "the killed VM lives on"
    NO_CARRIER = "the uplink has no carrier"
    CARRIER = "the uplink has a carrier"
    NOTED = "the note is on disk"
    YIELD_OVER = "time enough has passed since the yield"
    UNYIELDED = "the primary has not yielded in time"
    DELAYED = "300 ms have passed without carrier"
    # of the operator
    INIT = "`init`"
    INIT_ALONE = "`init --switched-off`"
    SWITCHOVER = "`switchover`, `failover`"
    RELINQUISH = "`relinquish`"
    FORCE = "`force`, with the other host switched off"


class Do(Enum):
    """What a transition does, besides the gate and the note on disk that follow from the state."""

    GATE = "the gate, now"
    READ = "read"
    CLAIM = "swap what was read for `solo`, this host, with a new nonce"
    CREATE = "swap nothing for `solo`, this host"
    REASK = "swap what was read, with the same nonce"
    PAIR = "swap `solo` for `pair`"
    TAKE = "swap `pair` of the peer for `solo`, this host"
    CUT = "cut"
    TAKE_VM = "VM: go on alone"
    KILL_VM = "VM: kill"
    ENTER = "be in that pairing"
    LEAVE = "be in no pairing"
    CONSENT = "remember the peer's word"
    FORCE = "remember the operator's word"
    YIELD = "tell `yield`"
    PLEASE_YIELD = "tell `please-yield`"
    RELINQUISH = "tell `relinquish`"
    ASK = "tell `ask`"
    NO_VM = "tell `no-vm`"
    ASK_INIT = "tell `ask-init`"
    TELL_CONSENT = "tell `consent`"
    ALARM = "alarm"


class Row(NamedTuple):
    """What becomes of a state at a sign."""

    state: State
    do: tuple[Do, ...] = ()


def _row(state: State, *do: Do) -> Row:
    return Row(state, do)


_RIGHTS = {
    Right.SOLO: (State.SOLO, State.SETTLING, State.FORCED),
    Right.PAIRED: (State.ENTERING, State.COMPARING, State.PAIRING, State.PAIRED, State.SUSPECTING),
    Right.FROZEN: (State.FROZEN, State.DARK, State.CLAIMING),
}
RIGHTS: dict[State, Right] = dict.fromkeys(State, Right.NONE) | {
    state: right for right, states in _RIGHTS.items() for state in states
}
_NAMES = list(State)
ROLES: dict[State, str] = (
    dict.fromkeys(State, "none")
    | dict.fromkeys(_NAMES[_NAMES.index(State.SOLO) : _NAMES.index(State.SECONDARY)], "primary")
    | dict.fromkeys(_NAMES[_NAMES.index(State.SECONDARY) :], "secondary")
)
# Where this host's last swap is of consequence.
CLAIMS = frozenset(
    {
        State.REGAINING,
        State.SETTLING,
        State.FORCED,
        State.PAIRING,
        State.CLAIMING,
        State.TAKING,
    }
)
# Where a question is asked again without end: nothing else leads out of it, or an operator must hear of it.
ASK_ON = frozenset(
    {
        State.STARTING,
        State.EMPTY,
        State.FOUNDING,
        State.STALE,
        State.ASKING,
        State.REGAINING,
        State.SPARE,
        State.SOLO,
        State.SETTLING,
        State.FORCED,
        State.PAIRING,
        State.SUSPECTING,
        State.FROZEN,
        State.CLAIMING,
        State.YIELDED,
        State.DOUBTING,
        State.GRANTED,
        State.TAKING,
    }
)

_FORCE = {Sign.FORCE: _row(State.FORCING, Do.CUT, Do.FORCE)}
_LOSES = {Sign.THEIRS: _row(State.LOST, Do.KILL_VM, Do.LEAVE)}
_READS = _LOSES | {  # an owner that does not speak, and who it finds to be the owner
    Sign.MINE: _row(State.REGAINING, Do.CLAIM),
    Sign.UNSURE: _row(State.ASKING, Do.ASK),
}
_ALARMS = (Sign.ABSENT, Sign.OLD)

_NOBODY: dict[State, dict[Sign, Row]] = {
    State.STARTING: _READS
    | _FORCE
    | {
        Sign.ABSENT: _row(State.EMPTY),
        Sign.OLD: _row(State.STALE, Do.ALARM),
        Sign.UNKNOWN_FORCED: _row(State.FORCED, Do.READ),
        Sign.FORCEABLE: _row(State.FORCED, Do.CLAIM),
    },
    State.EMPTY: _LOSES
    | {
        Sign.MINE: _row(State.REGAINING, Do.CLAIM),
        Sign.INIT: _row(State.FOUNDING, Do.ASK_INIT),
        Sign.INIT_ALONE: _row(State.REGAINING, Do.CREATE),
        Sign.ASKED_INIT: _row(State.EMPTY, Do.TELL_CONSENT),
    },
    State.FOUNDING: {
        Sign.CONSENT: _row(State.REGAINING, Do.CREATE),
        Sign.INIT_ALONE: _row(State.REGAINING, Do.CREATE),
        Sign.ASKED_INIT: _row(State.FOUNDING, Do.TELL_CONSENT),
        Sign.INIT: _row(State.FOUNDING, Do.ASK_INIT),
        **_LOSES,
    },
    State.STALE: _READS | _FORCE,
    State.ASKING: _LOSES
    | _FORCE
    | {Sign.UNSURE: _row(State.ASKING, Do.ASK), Sign.NO_VM: _row(State.REGAINING, Do.CONSENT, Do.CLAIM)},
    State.REGAINING: _LOSES
    | _FORCE
    | {
        Sign.WON: _row(State.SOLO, Do.GATE, Do.TAKE_VM, Do.LEAVE),
        Sign.MINE: _row(State.REGAINING, Do.REASK),
        Sign.UNSURE: _row(State.ASKING, Do.ASK),
        Sign.OLD: _row(State.STALE, Do.ALARM),
    },
    State.LOST: {
        Sign.VM_GONE: _row(State.SPARE, Do.READ),
        Sign.KILL_HANGS: _row(State.LOST, Do.ALARM),
        Sign.ASKED: _row(State.LOST, Do.NO_VM),
    },
    State.SPARE: {
        Sign.LOADED: _row(State.SECONDARY, Do.ENTER),
        Sign.ASKED: _row(State.SPARE, Do.NO_VM),
        Sign.UNSURE: _row(State.ASKING, Do.ASK),
        Sign.OLD: _row(State.SPARE, Do.ALARM),
    }
    | _FORCE,
}

_YIELDS = {
    Sign.SWITCHOVER: _row(State.YIELDING),
    Sign.PLEASE_YIELD: _row(State.YIELDING),
    Sign.NO_CARRIER: _row(State.YIELDING),
    Sign.VM_DEAD: _row(State.YIELDING),
}
_LEFT_ALONE = {Sign.RELINQUISHED: _row(State.SETTLING, Do.CLAIM, Do.TAKE_VM, Do.LEAVE)}
# A pairing that the store cannot name yet ends without a question: no secondary could claim it.
_UNPAIRED = _row(State.SOLO, Do.GATE, Do.TAKE_VM, Do.LEAVE)
_UNPAIRS = dict.fromkeys((Sign.SUSPECTED, Sign.NOT_READY, Sign.VM_DEAD), _UNPAIRED)
_SILENT = (
    _LOSES
    | _LEFT_ALONE
    | _FORCE
    | {
        Sign.MINE: _row(State.CLAIMING, Do.CLAIM),
        Sign.DARK: _row(State.DARK),
        Sign.OLD: _row(State.FROZEN, Do.ALARM),
        Sign.RETURNED: _row(State.PAIRED),
        Sign.VM_DEAD: _row(State.YIELDING),
    }
)
_PRIMARY: dict[State, dict[Sign, Row]] = {
    State.SOLO: {
        Sign.BEGIN: _row(State.ENTERING, Do.ENTER),
        Sign.OLD: _row(State.SOLO, Do.ALARM),
        Sign.THEIRS: _row(State.SOLO, Do.ALARM),
    },
    State.SETTLING: _LOSES
    | {
        Sign.WON: _row(State.SOLO),
        Sign.MINE: _row(State.SETTLING, Do.REASK),
        Sign.UNSURE: _row(State.SETTLING, Do.REASK),
        Sign.OLD: _row(State.SETTLING, Do.ALARM),
    },
    State.FORCING: {Sign.NOTED: _row(State.FORCED, Do.TAKE_VM, Do.GATE, Do.LEAVE, Do.READ)},
    State.FORCED: {
        Sign.FORCEABLE: _row(State.FORCED, Do.CLAIM),
        Sign.MINE: _row(State.FORCED, Do.CLAIM),
        Sign.UNSURE: _row(State.FORCED, Do.CLAIM),
        Sign.WON: _row(State.SOLO),
        Sign.THEIRS: _row(State.LOST, Do.KILL_VM, Do.LEAVE, Do.ALARM),
    },
    State.ENTERING: _UNPAIRS | {Sign.GATED: _row(State.COMPARING)},
    State.COMPARING: _UNPAIRS | {Sign.RELINQUISHED: _UNPAIRED, Sign.READY: _row(State.PAIRING, Do.PAIR)},
    State.PAIRING: _LEFT_ALONE
    | {
        Sign.WON: _row(State.PAIRED),
        Sign.SUSPECTED: _row(State.CLAIMING, Do.CLAIM),
        Sign.VM_DEAD: _row(State.YIELDING),
        Sign.OLD: _row(State.PAIRING, Do.ALARM),
        Sign.THEIRS: _row(State.LOST, Do.KILL_VM, Do.LEAVE),
    },
    State.PAIRED: _YIELDS | _LEFT_ALONE | {Sign.SUSPECTED: _row(State.SUSPECTING, Do.READ)},
    State.SUSPECTING: _SILENT | {Sign.UNKNOWN: _row(State.FROZEN)},
    State.FROZEN: _SILENT,
    State.DARK: _LEFT_ALONE
    | _FORCE
    | {
        Sign.DELAYED: _row(State.CLAIMING, Do.CLAIM),
        Sign.CARRIER: _row(State.CLAIMING, Do.CLAIM),
        Sign.RETURNED: _row(State.YIELDING),
        Sign.VM_DEAD: _row(State.YIELDING),
    },
    State.CLAIMING: _LOSES
    | _FORCE
    | {
        Sign.WON: _row(State.SOLO, Do.GATE, Do.TAKE_VM, Do.LEAVE),
        Sign.MINE: _row(State.CLAIMING, Do.REASK),
        Sign.UNSURE: _row(State.ASKING, Do.ASK),
        Sign.OLD: _row(State.CLAIMING, Do.ALARM),
        Sign.RELINQUISHED: _row(State.SETTLING, Do.TAKE_VM, Do.LEAVE),
    },
    State.YIELDING: {Sign.GATED: _row(State.YIELDED, Do.YIELD, Do.READ)},
    State.YIELDED: _LOSES
    | _FORCE
    | {
        Sign.YIELD_OVER: _row(State.STARTING, Do.LEAVE, Do.READ),
        Sign.RELINQUISHED: _row(State.STARTING, Do.CONSENT, Do.LEAVE, Do.READ),
    },
}

_RELINQUISHES = dict.fromkeys(
    (Sign.VM_DEAD, Sign.RELINQUISH), _row(State.LOST, Do.RELINQUISH, Do.CUT, Do.KILL_VM, Do.LEAVE)
)
_GIVES_UP = {Sign.THEIRS: _row(State.LOST, Do.CUT, Do.KILL_VM, Do.LEAVE)}
_YIELDED_TO = {Sign.YIELD: _row(State.GRANTED, Do.CUT, Do.READ)}
_WATCHES = _RELINQUISHES | _YIELDED_TO | {Sign.SUSPECTED: _row(State.DOUBTING, Do.READ)}
_SECONDARY: dict[State, dict[Sign, Row]] = {
    State.SECONDARY: _WATCHES | {Sign.SWITCHOVER: _row(State.WISHING, Do.PLEASE_YIELD)},
    State.WISHING: _WATCHES | {Sign.UNYIELDED: _row(State.CUTTING, Do.CUT)},
    State.DOUBTING: _RELINQUISHES
    | _YIELDED_TO
    | _GIVES_UP
    | _FORCE
    | {
        Sign.HELD: _row(State.READY),
        Sign.OLD: _row(State.DOUBTING, Do.ALARM),
        Sign.RETURNED: _row(State.SECONDARY),
    },
    State.READY: _RELINQUISHES
    | _YIELDED_TO
    | _FORCE
    | {
        Sign.SILENCE: _row(State.CUTTING, Do.CUT),
        Sign.RETURNED: _row(State.SECONDARY),
    },
    State.CUTTING: _RELINQUISHES | _YIELDED_TO | {Sign.CUT_DONE: _row(State.CUT)},
    State.CUT: _RELINQUISHES | _YIELDED_TO | _FORCE | {Sign.SILENCE: _row(State.GRANTED, Do.READ)},
    State.GRANTED: _RELINQUISHES
    | _GIVES_UP
    | _FORCE
    | {Sign.HELD: _row(State.TAKING, Do.TAKE), Sign.OLD: _row(State.GRANTED, Do.ALARM)},
    State.TAKING: _GIVES_UP
    | _FORCE
    | {
        Sign.WON: _row(State.NOTING),
        Sign.OLD: _row(State.TAKING, Do.ALARM),
    },
    State.NOTING: {Sign.NOTED: _row(State.SOLO, Do.TAKE_VM, Do.GATE, Do.LEAVE)},
}

TABLE: dict[State, dict[Sign, Row]] = _NOBODY | _PRIMARY | _SECONDARY
