"""The engine: the data path as the control plane sees it. Commands go in, events and counters come out;
loop.pyx does the work in a thread of its own.

Past 400 lines: one Python class, whose methods share its C state.
"""

from libc cimport errno as c
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.unistd cimport close

import os
import threading

from colo_proxy.engine.messages import PROTOCOLS, Done, NicCounters, PortCounters, PortFault
from colo_proxy.vocabulary import Drop, Exhausted, Mode, Port, Reason, Word

from colo_proxy.core.atomic cimport atomic_load, atomic_store_release
from colo_proxy.core.core cimport Core, Counts, Settings, core_free_diverged
from colo_proxy.core.flow.pool cimport pool_free, pool_new
from colo_proxy.core.nic cimport FlowRecord, nic_counts, nic_flows, nic_free, nic_new
from colo_proxy.core.policy cimport FORMER, Policies, PolicyTable
from colo_proxy.core.rules cimport rules_replace
from colo_proxy.core.to_python cimport to_python_divergence, to_python_flow
from colo_proxy.core.vocabulary cimport MILLISECOND, SECONDARY, UPLINK
from colo_proxy.engine.attachment cimport attachment_writer
from colo_proxy.engine.kernel cimport EPOLL_CLOEXEC, epoll_create1, write
from colo_proxy.engine.loop cimport loop_run
from colo_proxy.engine.ports.port cimport (
    Port as PortState,
    PortKind,
    port_batch_free,
    port_batch_new,
    port_close,
    port_open,
)
from colo_proxy.engine.ring cimport (
    ring_close,
    ring_give_back,
    ring_oldest,
    ring_open,
    ring_publish,
    ring_silence,
    ring_vacant,
)
from colo_proxy.engine.state cimport (
    C_ATTACH,
    C_CALL,
    C_WORD,
    E_DIVERGED,
    E_DONE,
    E_EXHAUSTED,
    PORTS,
    SIDES,
    Attachment,
    Command,
    CommandKind,
    Event,
    Loop,
    Nic,
)
from colo_proxy.engine.ports.port import KINDS

cdef enum:
    CALL_POLICIES = 0
    CALL_FLOWS = 1
    MAX_NICS = 64
    COMMANDS = 256
    EVENTS = 1024  # requests.pyx keeps 256 of them for answers to commands
    STEPS = 512  # places of flows that one request looks at, so that the data path does not pause for long

cdef uint64_t DIGEST_BYTES = 4 << 20  # for each NIC, where retransmissions are checked (T14)


cdef struct Records:  # a request for flows, and its answer
    uint32_t nic  # where to start; then where to continue
    uint32_t place
    uint32_t steps
    uint32_t room
    uint32_t count
    uint32_t[STEPS] nics
    FlowRecord[STEPS] flows


cdef class Engine:
    """The data path of one proxy: its NICs, their comparators, and the one thread that runs the loop.

    `run` is that thread's body. Everything else belongs to the control thread, except `stop`, `snapshot`,
    `policy_frames` and `beat`, which any thread may use. Descriptors remain the property of those who opened
    them: the engine neither duplicates nor closes them.
    """

    cdef Loop loop
    cdef Settings settings
    cdef int mode
    cdef list names
    cdef uint64_t tickets
    cdef uint32_t underway  # commands without an answer yet
    cdef bint started
    cdef list lists  # PolicyTables: the last one in force, and earlier ones that the data path still uses
    cdef object latest  # the one set last, in force or under way
    cdef dict tables  # those under way, by ticket
    cdef object running  # a lock, held while the loop runs

    def __cinit__(self, *, int64_t timeout_ms=3000, int64_t reorder_ms=5, uint64_t max_held_bytes=64 << 20,
                  uint64_t max_flow_bytes=16 << 20, uint64_t max_flows=100_000, bint observe=False,
                  bint passthrough=False, bint compare_only=False, str retransmissions="trust",
                  mode=Mode.HOLD, uint64_t seed=0):
        self.loop.epoll = -1
        if timeout_ms < 0 or reorder_ms < 0:
            raise ValueError("timeout_ms and reorder_ms cannot be negative")
        memset(&self.settings, 0, sizeof(self.settings))
        self.settings.timeout = timeout_ms * MILLISECOND
        self.settings.reorder = reorder_ms * MILLISECOND
        self.settings.max_flow_bytes = max_flow_bytes
        self.settings.seed = seed
        self.settings.digest_bytes = DIGEST_BYTES if retransmissions == "check" else 0
        self.settings.observe = observe
        self.settings.passthrough = passthrough
        self.settings.compare_only = compare_only
        self.mode = Mode(mode).value
        self.names = []
        self.tables = {}
        self.latest = PolicyTable()
        self.lists = []
        self.running = threading.Lock()
        self.loop.nics = <Nic *>calloc(MAX_NICS, sizeof(Nic))
        if self.loop.nics == NULL:
            raise MemoryError
        self.loop.pool = pool_new(max_held_bytes, max_flows)
        self.loop.batch = port_batch_new(self.loop.pool)
        ring_open(&self.loop.commands, COMMANDS, sizeof(Command))
        ring_open(&self.loop.events, EVENTS, sizeof(Event))
        self.loop.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.loop.epoll < 0:
            raise OSError(c.errno, f"epoll_create1: {os.strerror(c.errno)}")

    def __dealloc__(self):
        cdef uint32_t nic
        cdef Event *event
        if self.loop.events.slots != NULL:
            event = <Event *>ring_oldest(&self.loop.events)
            while event != NULL:
                forget_event(event)
                ring_give_back(&self.loop.events)
                event = <Event *>ring_oldest(&self.loop.events)
        for nic in range(self.loop.count):
            free_nic(&self.loop.nics[nic])
        free(self.loop.nics)
        port_batch_free(self.loop.batch)
        pool_free(self.loop.pool)
        ring_close(&self.loop.commands)
        ring_close(&self.loop.events)
        if self.loop.epoll >= 0:
            close(self.loop.epoll)

    def add_nic(self, uplink, primary, secondary):
        """Add a NIC before `run`; return its number.

        ValueError, OSError: a descriptor is not what its kind needs.
        """
        cdef Nic *nic = &self.loop.nics[self.loop.count]
        if self.started:
            raise RuntimeError("NICs are added before the engine runs")
        if self.loop.count == MAX_NICS:
            raise ValueError(f"more than {MAX_NICS} NICs")
        try:
            for which in range(SIDES):
                nic.attachments[<int>which].port.fd = -1
                nic.attachments[<int>which].polled = -1
            for which, spec in enumerate((uplink, primary, secondary)):
                open_plug(&nic.attachments[<int>which], spec, which)
                if spec.split:
                    open_plug(&nic.attachments[<int>which + PORTS], spec, which)
            nic.core = nic_new(self.loop.pool, &self.settings)
        except BaseException:
            free_nic(nic)
            raise
        nic.core.mode = self.mode
        nic.core.counts.mode = <uint64_t>self.mode
        self.names.append((uplink.name, primary.name, secondary.name))
        self.loop.count += 1
        return self.loop.count - 1

    def run(self):
        """Run the loop, without the GIL, until `stop`. An engine runs once."""
        if self.started:
            raise RuntimeError("an engine runs once")
        self.started = True
        with self.running, nogil:
            loop_run(&self.loop)

    def stop(self):
        """Let `run` return within one turn of the loop. May be called before `run`, and more than once."""
        atomic_store_release(&self.loop.stopping, 1)
        ring_bell(&self.loop)

    @property
    def event_fd(self):
        """Readable when `events` has something to return."""
        return self.loop.events.bell

    @property
    def beat(self):
        """Grows with each turn of the loop, at least every 500 ms while it runs."""
        return atomic_load(&self.loop.beat)

    cdef Command *draft(self, CommandKind kind, uint32_t code) except NULL:
        """The slot of the next command, to be filled in and posted."""
        cdef Command *command = <Command *>ring_vacant(&self.loop.commands)
        # One slot less than there are: the answer to each command must find a slot among the events.
        if self.underway == COMMANDS - 1 or command == NULL:
            raise BlockingIOError(c.EAGAIN, f"{self.underway} commands wait for the data path")
        memset(command, 0, sizeof(Command))
        command.kind = kind
        command.code = code
        command.ticket = self.tickets + 1
        return command

    cdef uint64_t post(self):
        self.tickets += 1
        self.underway += 1
        ring_publish(&self.loop.commands)
        return self.tickets

    def command(self, word, int64_t stamp_ns=0):
        """Post a checkpoint word for all NICs; return the ticket that its Done will carry.

        SVM_STOP and PVM_STOP first judge what that guest's port received up to `stamp_ns` (CLOCK_REALTIME).
        With 0 they judge what is in the port's queue now, whatever its time stamps; a port that does not
        report the length of its queue is read until it is empty. BlockingIOError: too many commands are under
        way.
        """
        cdef Command *command = self.draft(C_WORD, Word(word).value)
        command.stamp = stamp_ns
        return self.post()

    def attach(self, int nic, port, int fd, *, bint out=False):
        """Give a port another descriptor (-1: none), of the kind it was made with; return a ticket.

        `out`: the descriptor that a split port writes to, not the one it reads. After the Done the former
        descriptor is no longer used. A frame that its peer had sent in part is forgotten; what waits to be
        sent to an uplink goes to the new descriptor.
        """
        cdef Command *command
        cdef int attachment = <int>Port(port).value + (PORTS if out else 0)
        if not 0 <= nic < <int>self.loop.count:
            raise ValueError(f"there is no NIC {nic}")
        if out and self.loop.nics[nic].attachments[attachment].port.stream == NULL:
            raise ValueError(f"{self.names[nic][port]} is not split")
        if fd >= 0:
            check_port(&self.loop.nics[nic].attachments[attachment], fd)
        command = self.draft(C_ATTACH, <uint32_t>nic * SIDES + <uint32_t>attachment)
        command.fd = fd
        return self.post()

    def set_policies(self, rules):
        """Let these rules decide from now on; return a ticket. ValueError: a rule contradicts itself."""
        cdef PolicyTable table = PolicyTable(rules)
        cdef Command *command = self.draft(C_CALL, CALL_POLICIES)
        command.call = use_policies
        command.argument = table.policies
        self.tables[command.ticket] = table
        self.latest = table
        return self.post()

    def policy_frames(self):
        """Return the rules that were set last, each with the number of the PVM's frames that it has matched.
        """
        cdef PolicyTable table = self.latest
        return list(zip(table.rules, table.hits, strict=True))

    def request_flows(self, uint64_t after=0, uint32_t most=STEPS):
        """Ask for flows; return the ticket of the Done that carries at most `most` of them, perhaps none.

        They come in the order of their `id`, beginning with the first above `after`. To get all of them, ask
        again with `Done.after` until it is None. One request at a time keeps the data path from pausing for
        long.
        """
        cdef Command *command = self.draft(C_CALL, CALL_FLOWS)
        cdef Records *records = <Records *>calloc(1, sizeof(Records))
        if records == NULL:
            raise MemoryError
        records.nic = <uint32_t>min(after >> 32, <uint64_t>MAX_NICS)
        records.place = <uint32_t>after
        records.steps = STEPS
        records.room = min(most, <uint32_t>STEPS)
        command.call = record_flows
        command.argument = records
        return self.post()

    def events(self):
        """Return what has happened since the last call, in order."""
        cdef Event *event
        happened = []
        ring_silence(&self.loop.events)
        while True:
            event = <Event *>ring_oldest(&self.loop.events)
            if event == NULL:
                return happened
            try:
                happened.append(self.message(event))
            finally:
                forget_event(event)
                ring_give_back(&self.loop.events)

    cdef message(self, Event *event):
        if event.kind == E_DONE:
            self.underway -= 1
            if event.command.kind == C_CALL and event.command.code == CALL_POLICIES:
                self.lists = [*self.lists[-FORMER:], self.tables.pop(event.command.ticket)]
            if event.command.kind == C_CALL and event.command.code == CALL_FLOWS:
                return recorded_flows(event, self.loop.count)
            return Done(event.command.ticket, bool(event.late))
        if event.kind == E_DIVERGED:
            return to_python_divergence(&event.diverged, event.nic)
        if event.kind == E_EXHAUSTED:
            return Exhausted(event.nic, Drop(event.code), event.time)
        port = Port(event.code % PORTS)
        text = self.explain(event.nic, port, event.code >= PORTS, event.error)
        return PortFault(event.nic, port, event.error, text, event.code >= PORTS)

    def explain(self, nic, port, out, error):
        """Describe a fault: which port, and what happened."""
        name = self.names[nic][port] + (" (out)" if out else "")
        if error == 0:
            return f"{name}: works again"
        return f"{name}: {FAULTS.get(error) or os.strerror(error)}"

    def snapshot(self):
        """Return the counters of all NICs. This does not disturb the data path."""
        return [nic_counters(&self.loop.nics[nic], self.names[nic]) for nic in range(self.loop.count)]


VNET_HDR = "Is vnet_hdr here what vnet_hdr_support is there?"
FAULTS = {
    c.ENOTCONN: "the peer closed the connection",
    c.EMSGSIZE: "the peer announced a frame longer than any can be; connection closed. " + VNET_HDR,
    c.EPROTO: "the peer sent a virtio-net header length that cannot be; connection closed. " + VNET_HDR,
    c.ENETDOWN: "the interface is down",
    c.ENODEV: "the interface has been removed",
    c.EBADFD: "the interface has been removed",
}


cdef void ring_bell(Loop *loop) noexcept nogil:
    cdef uint64_t one = 1
    write(loop.commands.bell, &one, sizeof(one))


cdef open_plug(Attachment *attachment, spec, int which):
    """Raise ValueError or OSError where the descriptor is not what its kind needs."""
    try:
        port_open(&attachment.port, <PortKind><int>KINDS[spec.kind], spec.fd, spec.vnet)
    except (OSError, ValueError) as error:
        raise type(error)(f"{spec.name}: {error}") from None
    # A frame for clients or the PVM is worth a short wait; a copy for the SVM is not.
    attachment.port.patient = which != SECONDARY
    attachment.port.keep = which == UPLINK
    attachment.fault = c.ENOTCONN if spec.fd < 0 else 0  # nobody is there yet


cdef void free_nic(Nic *nic) noexcept nogil:
    cdef int which
    nic_free(nic.core)
    nic.core = NULL
    for which in range(SIDES):
        port_close(&nic.attachments[which].port)


cdef void forget_event(Event *event) noexcept nogil:
    """Free what an event owns and no Python object has taken over."""
    if event.kind == E_DIVERGED:
        core_free_diverged(&event.diverged)
    elif event.kind == E_DONE and event.command.kind == C_CALL and event.command.code == CALL_FLOWS:
        free(event.command.argument)


# What commands do to each core, in the data path's thread.

cdef void use_policies(Core *core, uint32_t nic, void *argument) noexcept nogil:
    rules_replace(core, <Policies *>argument)


cdef void record_flows(Core *core, uint32_t nic, void *argument) noexcept nogil:
    cdef Records *records = <Records *>argument
    cdef uint64_t found
    if nic != records.nic or records.count == records.room:
        return
    found = nic_flows(
        core, &records.place, &records.steps, &records.flows[records.count], records.room - records.count
    )
    while found:
        records.nics[records.count] = nic
        records.count += 1
        found -= 1
    if records.steps and records.count < records.room:  # no more here: continue with the next NIC
        records.nic += 1
        records.place = 0


cdef recorded_flows(Event *event, uint32_t nics):
    cdef Records *records = <Records *>event.command.argument
    cdef uint32_t at
    flows = tuple([to_python_flow(&records.flows[at], records.nics[at]) for at in range(records.count)])
    after = None if records.nic >= nics else (<uint64_t>records.nic << 32) + records.place
    return Done(event.command.ticket, False, flows, after)


cdef check_port(const Attachment *attachment, int fd):
    """Refuse a descriptor that is not of the port's kind."""
    cdef PortState trial
    port_open(&trial, attachment.port.kind, fd, True)
    port_close(&trial)


cdef nic_counters(Nic *nic, names):
    cdef Counts *counts = nic_counts(nic.core)
    cdef const uint64_t *divergences = <const uint64_t *>counts.divergences
    return NicCounters(
        ports=tuple([port_counters(nic, which, names[which]) for which in range(PORTS)]),
        released=atomic_load(&counts.released),
        released_bytes=atomic_load(&counts.released_bytes),
        divergences={
            (reason, protocol): atomic_load(&divergences[<int>reason * 4 + at])
            for reason in Reason for at, protocol in enumerate(PROTOCOLS)
        },
        dropped={drop: atomic_load(&counts.dropped[<int>drop]) for drop in Drop},
        mode=Mode(atomic_load(&counts.mode)),
        held_frames=atomic_load(&counts.held_frames),
        held_bytes=atomic_load(&counts.held_bytes),
        flows=atomic_load(&counts.flows),
        hold_buckets=tuple([atomic_load(&counts.hold_buckets[at]) for at in range(32)]),
        hold_sum_ns=atomic_load(&counts.hold_sum),
        timeout_ns=atomic_load(&counts.timeout),
        stream_gaps=(atomic_load(&counts.gaps[0]), atomic_load(&counts.gaps[1])),
        retransmitted=(atomic_load(&counts.resent[0]), atomic_load(&counts.resent[1])),
        neighbours_asked=atomic_load(&counts.asked),
        retransmissions_unverified=atomic_load(&counts.unverified),
    )


cdef port_counters(Nic *nic, int which, name):
    cdef Attachment *reads = &nic.attachments[which]
    cdef Attachment *writes = &nic.attachments[attachment_writer(nic, which)]
    cdef PortState *port = &reads.port
    cdef PortState *out = &writes.port
    return PortCounters(
        name=name,
        received=atomic_load(&port.received),
        received_bytes=atomic_load(&port.received_bytes),
        sent=atomic_load(&out.sent),
        sent_bytes=atomic_load(&out.sent_bytes),
        overruns=atomic_load(&port.overruns),
        dropped={
            drop: atomic_load(&port.dropped[<int>drop])
            + (atomic_load(&out.dropped[<int>drop]) if out != port else 0)
            for drop in Drop
        },
        fault=reads.fault or writes.fault,
    )
