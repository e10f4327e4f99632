"""What the machine wants done, in order. Who carries it out begins each before the next."""

from enum import Enum
from typing import NamedTuple

from colo_proxy.pair.record import Record


class Right(Enum):
    """What the data path lets out."""

    NONE = "none"  # nothing, housekeeping and bypassed flows neither
    FROZEN = "frozen"  # nothing leaves, and nothing is dropped
    PAIRED = "paired"  # what both VMs have sent, under the quiet rule
    SOLO = "solo"  # what the VM sends, in the numbers that clients know


class Gate(NamedTuple):
    """Tell the data path; `Gated` when it has applied it."""

    right: Right


class Read(NamedTuple):
    """Ask the store what it holds, past its caches."""

    tag: str


class Swap(NamedTuple):
    """Have the store replace `expect` (None: nothing) by `new`, if it holds exactly that."""

    tag: str
    expect: Record | None
    new: Record


class Cut(NamedTuple):
    """Shut this host's end of the pairing's stream, for good; `CutDone` when it is."""


class Note(NamedTuple):
    """Keep this on disk, past a power failure; `Noted` when it is."""

    highest: int  # the highest generation known
    won: str | None  # the nonce of the last claim that is known to be won
    forced: int  # what an operator has forced past this generation and the store does not know; 0: nothing


class TakeVm(NamedTuple):
    """The VM goes on alone: `yank`, the NBD server stopped, `x-colo-lost-heartbeat`; each waited for."""


class KillVm(NamedTuple):
    """End this host's VM; `VmGone` when it is, `KillHangs` when it does not end."""


class Tell(NamedTuple):
    """Send the peer a word about a pairing, in order with the frames where there is a stream of it.

    | word | sent by | meaning |
    | --- | --- | --- |
    | `yield` | the primary | its right for this pairing is NONE for ever: claim it |
    | `please-yield` | the secondary | an operator wants to switch over |
    | `relinquish` | the secondary | it had an SVM of this pairing, has not claimed it and never will |
    | `ask` | an owner without the pairing's VM | who has a VM of it? |
    | `no-vm` | the other | it has no VM of this pairing, or one that it has given up |
    | `ask-init` | who is to create the record | is there no record to your knowledge either? |
    | `consent` | the other | none |
    """

    word: str
    pairing: str


class Alarm(NamedTuple):
    """Tell the operator."""

    reason: str


class Refused(NamedTuple):
    """The operator's wish is not possible; nothing has changed."""

    reason: str


class Changed(NamedTuple):
    """The event PAIR_CHANGE."""

    role: str  # primary | secondary | none
    right: Right
    g: int
    reason: str


Action = Gate | Read | Swap | Cut | Note | TakeVm | KillVm | Tell | Alarm | Refused | Changed
