"""Two hosts, a store and a link, as small as they can be; each host runs the real machine.

How it works. A `World` is a value; `moves` gives every next one. Whatever can be slow, is: any process rests
for as long as it likes between two moves (so a pause is no move of its own), a request is applied at any time
or never, its answer comes at any time or never, words come late, in any order or never. What a machine must
not depend on is left out, so that the search ends: an answer whose question no longer stands (a unit test
shows that every state drops it), a swap that can never match again, a word about a pairing that nobody is in.

*Words* of the guest are counted. The PVM's n-th may leave while both have said it; the SVM says the same
n-th word. Clients know `left` of them.

*Time* is two clocks of one tick each. `aged`: the heartbeat that the secondary acknowledged last was sent a
tick ago or more, so that the quiet rule stops the primary. `silent`: the secondary has had no sign of the
primary for a tick. The real times (`quiet_ms` < `timeout_ms` + 30 ms) are one tick here, the hardest case.

Past 400 lines: a list of cases, each by itself.
"""

from collections.abc import Iterator
from typing import NamedTuple

from colo_proxy.pair import actions as act
from colo_proxy.pair import events as ev
from colo_proxy.pair.actions import Note, Right
from colo_proxy.pair.machine import Machine, Situation
from colo_proxy.pair.record import Record
from colo_proxy.pair.table import ASK_ON, ROLES, Sign, State

HOSTS = ("a", "b")
_RANK = [Right.NONE, Right.FROZEN, Right.PAIRED, Right.SOLO]
_OPENNESS = {right: rank for rank, right in enumerate(_RANK)}
_BEATS = frozenset(
    {State.ENTERING, State.COMPARING, State.PAIRING, State.PAIRED, State.SUSPECTING, State.FROZEN}
    | {State.DARK, State.CLAIMING, State.YIELDING, State.YIELDED}
)
_NEW = "new"  # a nonce or tag that the machine has just drawn; it gets its name in `Play._named`
_PLAIN = (  # named times, and facts that may come whenever a row awaits them
    (Sign.SUSPECTED, ev.Suspected()),
    (Sign.NOT_READY, ev.NotReady()),
    (Sign.YIELD_OVER, ev.YieldOver()),
    (Sign.UNYIELDED, ev.Unyielded()),
    (Sign.DELAYED, ev.Delayed()),
)


class Violation(Exception):
    """What must never be."""


class Vm(NamedTuple):
    """A guest: the pairing that it entered last, and how many words it has said."""

    pairing: str | None = None
    said: int = 0


class Host(NamedTuple):
    """One machine, its process, VM, data path and disk. `machine` None: it is off."""

    machine: Situation | None
    vm: Vm | None = None
    gate: Right = Right.NONE  # as the data path has it
    disk: Note = Note(0, None, 0)
    cut: int = 0  # 1: ordered, 2: done
    heard: int = 0  # words of the peer's VM, as a primary
    past: tuple[Record | None, ...] = ()  # what the store has held since this host's question, and no longer


class Link(NamedTuple):
    """The stream of a pairing."""

    pairing: str = ""
    primary: int = 0
    up: bool = False
    loaded: bool = False
    wire: int = 0  # words of the SVM on their way
    aged: bool = True
    silent: bool = True
    beat: str = ""  # `pong`: the acknowledgement of a heartbeat that was sent in this tick is on its way


class Left(NamedTuple):
    """How much of what is bounded may still happen."""

    crashes: int = 0  # hosts' deaths and proxies' restarts
    deaths: int = 0  # of VMs
    breaks: int = 0  # of the link
    wishes: int = 0  # of operators, and losses of the uplink's carrier
    pairings: int = 1
    swaps: int = 5  # the highest generation
    forces: int = 0
    inits: int = 0
    restores: int = 0  # of the store, from its first record


class World(NamedTuple):
    """All there is."""

    store: Record | None
    hosts: tuple[Host, Host]
    left: Left
    swaps: frozenset[tuple[Record | None, Record]] = frozenset()
    words: frozenset[tuple[int, str, str]] = frozenset()  # to whom, word, pairing
    link: Link = Link()
    told: int = 0  # words that clients know
    words_max: int = 1


Move = tuple[str, bool, World]  # what happens, whether it is a fault or a wish, what is then


class Play:
    """The moves of worlds whose hosts run this machine."""

    make = Machine
    # What weakenings change:
    quiet_rule = True
    late_acknowledgement = False  # a heartbeat's age counts from its acknowledgement
    owner_only = False  # the store compares no more than the owner
    cut_undone = False
    dutiful = True  # an operator who forces a host keeps the other switched off until the store knows
    any_answer = False  # answers to questions that no longer stand come, too

    def __init__(self) -> None:
        self.machine = self.make(lambda: _NEW)
        self.fired: set[tuple[State, Sign]] = set()

    # ---- what must hold

    def check(self, world: World) -> None:
        """Raise Violation where two hosts can put frames on the wire, or one whose right another may take."""
        if self.sends(world, 0) and self.sends(world, 1):
            raise Violation("both hosts can send")
        for h, host in enumerate(world.hosts):
            if host.machine is None or host.gate is not Right.SOLO or host.machine.forced:
                continue
            if world.store is None or world.store.owner != HOSTS[h]:
                raise Violation("a host sends alone, and the store does not name it")

    def sends(self, world: World, h: int) -> bool:
        """Whether this host's data path lets anything out."""
        host = world.hosts[h]
        if host.machine is None:
            return False
        if host.gate is Right.SOLO:
            return True
        link = world.link
        return host.gate is Right.PAIRED and link.primary == h and not (link.aged and self.quiet_rule)

    # ---- feeding a machine

    def feed(self, world: World, h: int, event: ev.Event) -> World:
        """The world after this host's machine has had the event and its actions have begun."""
        before = world.hosts[h].machine
        assert before is not None
        sign = None if isinstance(event, ev.Again) else self.machine.sign(before, event)
        if sign in self.machine.table[before.state]:
            self.fired.add((before.state, sign))
        after, out = self.machine.feed(before, event)
        return self._done(world, h, after, out)

    def _done(self, world: World, h: int, after: Situation, out: list[act.Action]) -> World:
        host = world.hosts[h]
        past = host.past if after.question is not None else ()
        if after.question is not None and after.question.tag == _NEW:
            past = (*past, world.store) if self.any_answer and world.store not in past else ()
            after = self._named(world, after, out)
        host = host._replace(machine=after, past=past)
        if after.state not in (State.NOTING, State.FORCING):
            host = host._replace(disk=Note(after.highest, after.won, after.forced))
        world = put(world, h, host)
        for action in out:
            world = self._act(world, h, action)
        wanted = self.machine.rights[after.state]
        if _OPENNESS[wanted] > _OPENNESS[world.hosts[h].gate]:
            world = self._gate(world, h, wanted)
        return self._forgotten(world)

    def _forgotten(self, world: World) -> World:
        """The same without what has lost its consequence."""
        if (
            any(host.gate is Right.PAIRED for host in world.hosts)
            or in_pairing(world, 0)
            or in_pairing(world, 1)
        ):
            return world
        a, b = world.hosts
        if a.heard or b.heard:
            world = world._replace(hosts=(a._replace(heard=0), b._replace(heard=0)))
        return world._replace(link=Link()) if world.link.pairing else world

    def _named(self, world: World, after: Situation, out: list[act.Action]) -> Situation:
        """The same with names for the new tag and nonce that do not depend on how the world came to be."""
        question, claim = after.question, after.claim
        assert question is not None
        if isinstance(question, act.Read):
            return after._replace(question=question._replace(tag="q"))
        assert claim is not None
        if claim.nonce == _NEW:
            used, nonce = nonces(world), f"{claim.owner}{claim.g}"
            while nonce in used:
                nonce += "'"
            claim = claim._replace(nonce=nonce)
        asked = act.Swap("q", question.expect, claim)
        out[:] = [asked if isinstance(action, act.Swap) else action for action in out]
        return after._replace(question=asked, claim=claim)

    def _act(self, world: World, h: int, action: act.Action) -> World:
        match action:
            case act.Swap(_, expect, new):
                self._permitted(world, h, expect, new)
                return world._replace(swaps=world.swaps | {(expect, new)})
            case act.Cut() if world.hosts[h].cut == 0:
                return put(world, h, world.hosts[h]._replace(cut=1))
            case act.Tell(word, pairing):
                return world._replace(words=world.words | {(1 - h, word, pairing)})
        return world

    def _permitted(self, world: World, h: int, expect: Record | None, new: Record) -> None:
        """Nobody claims a pairing without its VM while the other has one that it has not given up."""
        if expect is None or not expect.paired or new.paired:
            return
        mine, other = world.hosts[h], world.hosts[1 - h]
        has = mine.vm is not None and mine.vm.pairing == expect.pairing
        theirs = other.machine is not None and other.vm is not None and other.vm.pairing == expect.pairing
        if not has and theirs and other.machine.pairing == expect.pairing:  # type: ignore[union-attr]
            raise Violation("a host without the pairing's VM claims, and the other has it")

    def _gate(self, world: World, h: int, right: Right) -> World:
        """The data path does as told."""
        host = world.hosts[h]._replace(gate=right)
        world = put(world, h, host)
        if right is Right.SOLO and host.vm is not None and host.vm.said < world.told:
            if host.vm.pairing is not None:
                raise Violation(f"takes over at {host.vm.said}, and clients know {world.told}")
            world = world._replace(told=host.vm.said)  # a cold start: what was known died with the VMs
        return world

    # ---- what can happen

    def moves(self, world: World) -> Iterator[Move]:
        """Every next world. Raises Violation."""
        yield from self._store(world)
        yield from self._link(world)
        for h in (0, 1):
            if world.hosts[h].machine is None:
                other = world.hosts[1 - h]
                if self.dutiful and (other.disk.forced or (other.machine and other.machine.forced)):
                    continue  # an operator keeps it switched off until the store knows
                yield f"{HOSTS[h]} boots", False, self._start(world, h, Vm())
            else:
                yield from self._guest(world, h)
                yield from self._process(world, h)
                yield from self._answers(world, h)
                yield from self._wishes(world, h)
                yield from self._faults(world, h)

    def _store(self, world: World) -> Iterator[Move]:
        for swap in world.swaps:
            if not self._matches(swap[0], world.store):
                continue
            new = swap[1]._replace(g=world.store.g + 1) if self.owner_only and world.store else swap[1]
            if new.g <= world.left.swaps:
                yield f"the store applies {_show(new)}", False, self._apply(world, new)
        if world.left.restores and world.store is not None and world.store.g > 1:
            yield "the store is emptied", True, spend(world, restores=1)._replace(store=None)
            first = Record(1, "solo", "a", None, "n0")
            yield "the store is an old copy", True, spend(world, restores=1)._replace(store=first)

    def _matches(self, expect: Record | None, store: Record | None) -> bool:
        if self.owner_only and expect is not None and store is not None:
            return expect.owner == store.owner
        return expect == store

    def _apply(self, world: World, new: Record) -> World:
        swaps = frozenset(s for s in world.swaps if s[0] is not None and s[0].g >= new.g)
        if world.left.restores:
            swaps = world.swaps  # a request that is repeated finds what it expects again
        elif self.owner_only:
            swaps = frozenset(swap for swap in world.swaps if swap[1].nonce != new.nonce)
        for h, host in enumerate(world.hosts):
            if host.machine is not None and host.machine.question is not None:
                world = put(world, h, host._replace(past=(*host.past, world.store)))
        return world._replace(store=new, swaps=swaps)

    def _answers(self, world: World, h: int) -> Iterator[Move]:
        host = world.hosts[h]
        m = host.machine
        assert m is not None
        if m.question is not None:
            for record in {world.store, *host.past}:
                if isinstance(m.question, act.Swap) and record == m.question.expect:
                    continue  # it would have been applied
                yield f"{HOSTS[h]} hears {_show(record)}", False, self.feed(world, h, ev.Answer("q", record))
            if m.state in (State.SUSPECTING, State.STARTING) or (world.left.inits and m.state is State.SOLO):
                yield f"{HOSTS[h]} has no answer", False, self.feed(world, h, ev.Unanswered("q"))
        elif m.state in ASK_ON and self._asks(world, m):
            yield f"{HOSTS[h]} asks again", False, self.feed(world, h, ev.Again())
        if m.state is State.ASKING and not any(to == 1 - h and word == "ask" for to, word, _ in world.words):
            yield f"{HOSTS[h]} asks the peer again", False, self.feed(world, h, ev.Again())

    def _asks(self, world: World, m: Situation) -> bool:
        """Whether a question may be of consequence: what only alarms is looked at in worlds of its own."""
        if m.state is State.SPARE:
            return bool(world.left.restores or (world.store is not None and world.store.owner == m.host))
        return bool(m.state is not State.SOLO or world.left.restores or world.left.inits)

    def _link(self, world: World) -> Iterator[Move]:
        link = world.link
        for word in world.words:
            to, said, pairing = word
            if world.hosts[to].machine is not None:
                rest = world._replace(words=world.words - {word})
                yield f"{HOSTS[to]} is told {said}", False, self.feed(rest, to, ev.Said(said, pairing))
        if not link.pairing:
            return
        p, s = link.primary, 1 - link.primary
        on = {h: in_pairing(world, h) for h in (p, s)}
        uncut = streams(world, s)
        if link.wire and on[p]:
            heard = world.hosts[p]._replace(heard=world.hosts[p].heard + 1)
            yield (
                f"{HOSTS[p]} gets a word of the SVM",
                False,
                put(relink(world, wire=link.wire - 1), p, heard),
            )
        if not (link.aged and link.silent and not link.beat):
            late = "late" if self.late_acknowledgement and link.beat == "pong" else ""
            yield "time passes", False, relink(world, aged=True, silent=True, beat=late)
        beats = on[p] and world.hosts[p].machine.state in _BEATS  # type: ignore[union-attr]
        if not link.beat and link.up and beats and streams(world, s):
            yield f"{HOSTS[s]} acknowledges a heartbeat", False, relink(world, beat="pong", silent=False)
        if link.beat in ("pong", "late") and on[p]:
            yield f"{HOSTS[p]} gets that", False, relink(world, beat="", aged=False)
        if world.left.breaks and link.up:
            yield "the link breaks", True, relink(spend(world, breaks=1), up=False, beat="")
        if self.cut_undone and link.loaded and link.up and world.hosts[s].cut == 2:
            yield "the cut is undone", False, put(world, s, world.hosts[s]._replace(cut=0))
        if not link.up and on[p] and on[s] and uncut:
            yield "the link is mended", False, relink(world, up=True)

    def _guest(self, world: World, h: int) -> Iterator[Move]:
        host, link = world.hosts[h], world.link
        vm, m = host.vm, host.machine
        assert m is not None
        if vm is None:
            return
        speaks = (
            host.gate in (Right.PAIRED, Right.SOLO) or ROLES[m.state] == "secondary"
        )  # else it is of no consequence
        if vm.said < world.words_max and speaks:
            said = put(world, h, host._replace(vm=vm._replace(said=vm.said + 1)))
            if link.primary != h and streams(world, h):
                said = relink(said, wire=link.wire + 1)
            yield f"{HOSTS[h]}'s VM says word {vm.said + 1}", False, said
        if host.gate is Right.SOLO and vm.said > world.told:
            yield f"{HOSTS[h]} sends word {vm.said}, alone", False, world._replace(told=vm.said)
        if host.gate is Right.PAIRED and self.sends(world, h) and min(vm.said, host.heard) > world.told:
            told = min(vm.said, host.heard)
            yield f"{HOSTS[h]} sends word {told}, compared", False, world._replace(told=told)

    def _process(self, world: World, h: int) -> Iterator[Move]:
        """What this host's own parts tell its machine."""
        host, link = world.hosts[h], world.link
        m = host.machine
        assert m is not None
        rows = self.machine.table[m.state]
        name = HOSTS[h]
        wanted = self.machine.rights[m.state]
        if host.gate is not wanted:
            yield f"{name}'s gate is {wanted.value}", False, self._gate(world, h, wanted)
        elif Sign.GATED in rows:
            yield f"{name}: gate applied", False, self.feed(world, h, ev.Gated())
        for sign, event in _PLAIN:
            if sign in rows:
                yield f"{name}: {sign.value}", False, self.feed(world, h, event)
        if (
            Sign.RETURNED in rows
            and link.up
            and in_pairing(world, 0)
            and in_pairing(world, 1)
            and not world.hosts[1 - link.primary].cut
        ):
            yield f"{name} hears the peer again", False, self.feed(world, h, ev.Returned())
        if Sign.SILENCE in rows and link.silent:
            yield f"{name}: silence over", False, self.feed(world, h, ev.SilenceOver())
        if host.cut == 1:
            world_cut = put(world, h, host._replace(cut=2))
            yield f"{name}: cut", False, self.feed(world_cut, h, ev.CutDone())
        if Sign.NOTED in rows:
            noted = put(world, h, host._replace(disk=Note(m.highest, m.won, m.forced)))
            yield f"{name}: noted", False, self.feed(noted, h, ev.Noted())
        if Sign.VM_GONE in rows:
            yield f"{name}: VM gone", False, self.feed(put(world, h, host._replace(vm=None)), h, ev.VmGone())
        if Sign.KILL_HANGS in rows and host.vm is not None:
            yield f"{name}: kill hangs", False, self.feed(world, h, ev.KillHangs())
        yield from self._pairing(world, h)

    def _pairing(self, world: World, h: int) -> Iterator[Move]:
        """A pairing as the checkpoint machine and QEMU make it."""
        host, other = world.hosts[h], world.hosts[1 - h]
        m, link = host.machine, world.link
        assert m is not None
        rows = self.machine.table[m.state]
        if Sign.BEGIN in rows and host.vm is not None and world.left.pairings and is_in(other, State.SPARE):
            pairing = f"p{world.left.pairings}"
            begun = put(world, h, host._replace(vm=host.vm._replace(pairing=pairing), heard=0))
            begun = begun._replace(link=Link(pairing, h, up=True, silent=False))
            begun = spend(begun, pairings=1)
            yield f"{HOSTS[h]} begins pairing {pairing}", False, self.feed(begun, h, ev.Begin(pairing))
        if link.primary != h or link.pairing != m.pairing or not link.up:
            return
        early = Sign.READY in self.machine.table[State.ENTERING] and m.state is State.ENTERING
        if (
            not link.loaded
            and (m.state is State.COMPARING or early)
            and host.vm
            and is_in(other, State.SPARE)
        ):
            loaded = put(world, h, host._replace(heard=host.vm.said))
            loaded = put(loaded, 1 - h, other._replace(vm=host.vm, cut=0))
            loaded = relink(loaded, loaded=True)
            yield f"{HOSTS[1 - h]}'s VM loads", False, self.feed(loaded, 1 - h, ev.Loaded(link.pairing))
        if Sign.READY in rows and link.loaded:
            yield f"{HOSTS[h]}: ready", False, self.feed(world, h, ev.Ready())

    # ---- faults and wishes

    def _faults(self, world: World, h: int) -> Iterator[Move]:
        host, left = world.hosts[h], world.left
        if left.crashes:
            off = spend(world, crashes=1)
            dead = Host(None, disk=host.disk)
            yield f"host {HOSTS[h]} dies", True, put(off, h, dead)
            yield f"{HOSTS[h]}'s proxy restarts", True, self._start(off, h, host.vm)
        if left.deaths and host.vm is not None:
            dead = host._replace(vm=None)
            yield (
                f"{HOSTS[h]}'s VM dies",
                True,
                self.feed(put(spend(world, deaths=1), h, dead), h, ev.VmDead()),
            )

    def _start(self, world: World, h: int, vm: Vm | None) -> World:
        disk = world.hosts[h].disk
        host = Host(None, vm, disk=disk, cut=2)
        situation, out = self.machine.start(HOSTS[h], HOSTS[1 - h], disk, vm.pairing if vm else None)
        world = put(world, h, host)
        if world.link.pairing:
            world = relink(world, up=False, beat="")
        return self._done(world, h, situation, out)

    def _wishes(self, world: World, h: int) -> Iterator[Move]:
        host, left = world.hosts[h], world.left
        m = host.machine
        assert m is not None
        rows = self.machine.table[m.state]
        name, peer = HOSTS[h], HOSTS[1 - h]
        if left.wishes:
            after = spend(world, wishes=1)
            if Sign.SWITCHOVER in rows:
                yield f"{name}: switchover", True, self.feed(after, h, ev.Switchover())
            if Sign.RELINQUISH in rows:
                yield f"{name}: relinquish", True, self.feed(after, h, ev.Relinquish())
            if m.carrier and m.state in (State.PAIRED, State.SUSPECTING, State.FROZEN):
                yield f"{name} loses its carrier", True, self.feed(after, h, ev.Carrier(False))
        if not m.carrier:
            yield f"{name} has a carrier again", False, self.feed(world, h, ev.Carrier(True))
        if left.inits and Sign.INIT_ALONE in rows and world.hosts[1 - h].machine is None:
            yield f"{name}: init --switched-off", True, self.feed(spend(world, inits=1), h, ev.Init(peer))
        if left.inits and Sign.INIT in rows:
            yield f"{name}: init", True, self.feed(spend(world, inits=1), h, ev.Init())
        if left.forces and Sign.FORCE in rows and self.may_force(world, h):
            forced = spend(world, forces=1)
            yield f"{name}: force", True, self.feed(forced, h, ev.Force(m.highest, peer))

    def may_force(self, world: World, h: int) -> bool:
        """An operator who does as told: the other host is off."""
        return world.hosts[1 - h].machine is None or not self.dutiful


def nonces(world: World) -> set[str]:
    """All that are known anywhere."""
    used = {host.disk.won or "" for host in world.hosts}
    records = [world.store]
    for swap in world.swaps:
        records += swap
    for host in world.hosts:
        records += host.past
        if m := host.machine:
            used.add(m.won or "")
            records += (m.record, m.claim)
    return used | {record.nonce for record in records if record}


def put(world: World, h: int, host: Host) -> World:
    """The world with this host."""
    return world._replace(hosts=(host, world.hosts[1]) if h == 0 else (world.hosts[0], host))


def relink(world: World, **what: object) -> World:
    """The world with the link changed."""
    return world._replace(link=world.link._replace(**what))  # type: ignore[arg-type]


def spend(world: World, **what: int) -> World:
    """The world with less of what is bounded."""
    left = world.left
    return world._replace(left=left._replace(**{key: getattr(left, key) - n for key, n in what.items()}))


def in_pairing(world: World, h: int) -> bool:
    """Whether this host's process is in the link's pairing."""
    m = world.hosts[h].machine
    return m is not None and m.pairing == world.link.pairing


def streams(world: World, h: int) -> bool:
    """Whether this secondary's data path sends to the primary, and acknowledges."""
    host, link = world.hosts[h], world.link
    return link.loaded and host.machine is not None and host.cut < 2 and host.vm is not None


def is_in(host: Host, state: State) -> bool:
    """Whether this host's machine is in the state."""
    return host.machine is not None and host.machine.state is state


def _show(record: Record | None) -> str:
    if record is None:
        return "nothing"
    return f"{record.g} {record.mode} {record.owner} {record.pairing or ''}".strip()


def solo(left: Left, words: int = 1) -> World:
    """Host a alone, as the store knows; host b its spare."""
    record = Record(1, "solo", "a", None, "n0")
    note = Note(1, "n0", 0)
    a = Situation("a", "b", State.SOLO, record, vm=None, answered=True, highest=1, won="n0")
    b = Situation("b", "a", State.SPARE, record, answered=True, highest=1)
    hosts = (Host(a, Vm(), Right.SOLO, note), Host(b, None, disk=Note(1, None, 0), cut=2))
    return World(record, hosts, left, words_max=words)


def nothing(left: Left, words: int = 1) -> World:
    """Two hosts that are off, and an empty store."""
    return World(None, (Host(None), Host(None)), left, words_max=words)


PAIR = (
    "a begins pairing",
    "a's gate is paired",
    "a: gate applied",
    "b's VM loads",
    "a: ready",
)
PAIRED = (*PAIR, "the store applies 2 pair a", "a hears 2 pair a")


def followed(play: Play, world: World, *steps: str) -> World:
    """The world after these moves; each step is the beginning of one move's label. Raises Violation."""
    for step in steps:
        moves = list(play.moves(world))
        found = {after for label, _, after in moves if label.startswith(step)}
        assert len(found) == 1, (step, [label for label, _, _ in moves])
        (world,) = found
        play.check(world)
    return world


def paired(left: Left, words: int = 0) -> World:
    """Host a paired with host b, as the store knows."""
    return followed(Play(), solo(left, words), *PAIRED)
