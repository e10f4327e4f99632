"""The comparator of one NIC as a Python class: for tests, captures, and programs that have frames in a list.

It copies each frame into a receive buffer, as a port of the engine would, calls nic.pyx, and turns what comes
out into Python objects. Declarations for Python: comparator.pyi.
"""

from libc.stdint cimport UINT32_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from colo_proxy.core.core cimport MAX_DIVERGED, Core, Counts, Diverged, Missed as CMissed, Out, Settings
from colo_proxy.core.flow.pool cimport Node, Pool, pool_free, pool_lend, pool_new, pool_return
from colo_proxy.core.nic cimport (
    W_ABORT,
    W_COMMIT,
    W_FAILOVER,
    W_FINISH,
    W_HOLD,
    W_PVM_STOP,
    W_SVM_LOADED,
    W_SVM_STOP,
    W_UNPROTECT,
    FlowRecord,
    Word,
    nic_counts,
    nic_divergence,
    nic_exhausted,
    nic_flows,
    nic_free,
    nic_new,
    nic_outs,
    nic_primary,
    nic_received,
    nic_secondary,
    nic_sent,
    nic_uplink,
    nic_word,
)
from colo_proxy.core.packet.parse cimport MAX_CAPTURED, MAX_FRAME, VNET
from colo_proxy.core.policy cimport FORMER, PolicyTable
from colo_proxy.core.rules cimport rules_replace
from colo_proxy.core.timers cimport timers_tick
from colo_proxy.core.to_python cimport to_python_divergence, to_python_flow
from colo_proxy.core.vocabulary cimport M_FAILED_OVER, PRIMARY, SECONDARY, PortId

from colo_proxy.vocabulary import Drop, Exhausted, Frame, Missed, Mode, Port

cdef dict PORTS = {int(port): port for port in Port}
cdef bytes NO_VNET = bytes(VNET)


cdef class Comparator:
    """One NIC's comparator. Frames begin at the Ethernet header; times are in ns and never decrease."""

    cdef Core *core
    cdef Pool *pool
    cdef uint8_t *buffer
    cdef uint32_t longest  # frame
    cdef int nic
    cdef list ready
    cdef list tables  # tables of policies, the latest last

    def __cinit__(
        self,
        *,
        nic=0,
        timeout_ms=3000,
        reorder_ms=5,
        max_held_bytes=64 << 20,
        max_flow_bytes=16 << 20,
        max_flows=100_000,
        observe=False,
        passthrough=False,
        compare_only=False,
        captured=False,
        digest_bytes=0,
        mode=Mode.COMPARE,
        seed=0,
    ):
        cdef Settings settings
        memset(&settings, 0, sizeof(settings))
        settings.timeout = timeout_ms * 1_000_000
        settings.reorder = reorder_ms * 1_000_000
        settings.max_flow_bytes = max_flow_bytes
        settings.seed = seed
        settings.digest_bytes = digest_bytes
        settings.observe = observe
        settings.passthrough = passthrough
        settings.compare_only = compare_only
        settings.captured = captured
        self.nic = nic
        self.ready = []
        self.tables = []
        self.longest = MAX_CAPTURED if captured else MAX_FRAME
        self.buffer = <uint8_t *>malloc(VNET + self.longest + 1)
        if self.buffer == NULL:
            raise MemoryError
        self.pool = pool_new(max_held_bytes, max_flows)
        self.core = nic_new(self.pool, &settings)
        self.core.mode = int(mode)
        self.core.counts.mode = int(mode)

    def __dealloc__(self):
        if self.core != NULL:
            nic_free(self.core)
        if self.pool != NULL:
            pool_free(self.pool)
        free(self.buffer)

    def uplink(self, frame, now, vnet=None):
        """Take a frame from the clients: it comes out unchanged for the PVM, and aligned for the SVM."""
        cdef uint32_t size = self.load(self.buffer, frame, vnet)
        cdef int mode = self.core.mode
        if mode != M_FAILED_OVER:
            self.ready.append(Frame(Port.PRIMARY, bytes(frame), bytes(vnet or NO_VNET)))
        if nic_uplink(self.core, self.buffer, size, now):
            self.ready.append(self.frame_object(Port.SECONDARY, self.buffer, size))
        self.collect()

    def received(self, frame, now, vnet=None):
        """Take a client's frame from the SVM's capture: nothing comes out for it."""
        cdef uint32_t size = self.load(self.buffer, frame, vnet)
        nic_received(self.core, self.buffer, size, now)

    def primary(self, frame, now, vnet=None):
        """Take a frame that the PVM has sent."""
        self.hear(PRIMARY, frame, now, vnet)

    def secondary(self, frame, now, vnet=None):
        """Take a frame that the SVM has sent."""
        self.hear(SECONDARY, frame, now, vnet)

    def tick(self, now):
        """Handle expired deadlines. Return the latest time for the next call, in ns; the largest int64:
        nothing waits.
        """
        cdef int64_t due = timers_tick(self.core, now)
        self.collect()
        return due

    def hold(self, now):
        """Hold the PVM's output and drop the SVM's until a commit (docs/comparison.md, section 6)."""
        self.word(W_HOLD, now)

    def unprotect(self, now):
        """Report that there is no SVM: release what is held, and from now on the PVM's output on arrival."""
        self.word(W_UNPROTECT, now)

    def svm_stop(self, now):
        """Report that the SVM has stopped: its frames are kept unjudged from now on, and the PVM's are held.
        """
        self.word(W_SVM_STOP, now)

    def svm_loaded(self, now):
        """Report that the SVM has the PVM's state: a failover from now on finds all offsets zero."""
        self.word(W_SVM_LOADED, now)

    def pvm_stop(self, now):
        """Report that the PVM has stopped too: its frames are kept unjudged from now on."""
        self.word(W_PVM_STOP, now)

    def commit(self, now):
        """Report that the checkpoint is done: release what is held, then judge what was kept."""
        self.word(W_COMMIT, now)

    def abort(self, now):
        """Report that the checkpoint has failed: like `hold`, and nothing is released."""
        self.word(W_ABORT, now)

    def failover(self, now):
        """Let the SVM take over: its output is released, aligned; what only the PVM has sent is dropped."""
        self.word(W_FAILOVER, now)

    def finish(self, now):
        """Report the end of the captures: everything without a counterpart is reported."""
        cdef bint more = True
        while more:
            nic_word(self.core, W_FINISH, now)
            more = self.core.diverged_count >= MAX_DIVERGED
            self.collect()

    def take(self):
        """Return what has come out since the last call, in order."""
        ready = self.ready
        self.ready = []
        return ready

    def set_policies(self, rules):
        """Apply these rules from now on."""
        cdef PolicyTable table = PolicyTable(rules)
        self.tables = [*self.tables[-FORMER:], table]
        rules_replace(self.core, table.policies)
        self.collect()

    def flows(self):
        """Return the flows that are known."""
        cdef uint64_t room = self.core.table.count
        cdef uint32_t place = 0
        cdef uint32_t steps = UINT32_MAX
        cdef FlowRecord *records = <FlowRecord *>malloc((room + 1) * sizeof(FlowRecord))
        if records == NULL:
            raise MemoryError
        try:
            room = nic_flows(self.core, &place, &steps, records, room)
            return [to_python_flow(&records[index], self.nic) for index in range(room)]
        finally:
            free(records)

    @property
    def mode(self):
        """What is done with the guests' output now."""
        return Mode(self.core.mode)

    @property
    def counters(self):
        """Return the counters of this NIC by name: frames, bytes, nanoseconds."""
        cdef Counts *counts = nic_counts(self.core)
        return {
            "frames": {port.name.lower(): counts.frames[<int>port] for port in Port},
            "released": counts.released,
            "released_bytes": counts.released_bytes,
            "held_frames": counts.held_frames,
            "held_bytes": counts.held_bytes,
            "memory": self.pool.held_bytes,
            "flows": self.core.table.count,
            "gaps": (counts.gaps[0], counts.gaps[1]),
            "resent": (counts.resent[0], counts.resent[1]),
            "asked": counts.asked,
            "retransmissions_unverified": counts.unverified,
            "dropped": {why: counts.dropped[<int>why] for why in Drop},
        }

    cdef int hear(self, PortId port, frame, int64_t now, vnet) except -1:
        """Give a frame to the core as ports do: in a node of the pool, in which a long frame may stay."""
        cdef Node *home = NULL
        cdef uint32_t size
        if len(frame) > MAX_FRAME:  # or the frame is longer than any that a port would receive
            size = self.load(self.buffer, frame, vnet)
            self.judge(port, self.buffer, size, now)
            return 0
        home = pool_lend(self.pool)
        if home == NULL:
            raise MemoryError
        try:
            size = self.load(home.data, frame, vnet)
            self.core.home = home
            self.judge(port, home.data, size, now)
            home = self.core.home
            self.core.home = NULL
        finally:
            if home != NULL:
                pool_return(self.pool, home)
        return 0

    cdef int judge(self, PortId port, uint8_t *base, uint32_t size, int64_t now) except -1:
        if port == PRIMARY:
            nic_primary(self.core, base, size, now)
        else:
            nic_secondary(self.core, base, size, now)
        self.collect()
        return 0

    cdef uint32_t load(self, uint8_t *into, frame, vnet) except 0:
        """Copy a frame into a buffer. One that is too long is cut just above the bound, so that it is refused
        later.
        """
        cdef const uint8_t[::1] header = vnet or NO_VNET
        cdef const uint8_t[::1] view = frame
        cdef uint32_t size = <uint32_t>min(view.shape[0], self.longest + 1)
        if header.shape[0] != VNET:
            raise ValueError(f"a virtio-net header has {VNET} bytes, not {header.shape[0]}")
        memcpy(into, &header[0], VNET)
        if size:
            memcpy(into + VNET, &view[0], size)
        return VNET + size

    cdef object frame_object(self, port, const uint8_t *base, uint32_t size):
        return Frame(port, base[VNET:size], base[:VNET])

    cdef int word(self, Word word, now) except -1:
        nic_word(self.core, word, now)
        self.collect()
        return 0

    cdef int collect(self) except -1:
        """Turn what came out into Python objects immediately, because the buffer is used again."""
        cdef Diverged diverged
        cdef uint32_t count, until
        cdef uint32_t index = 0
        cdef Out *out
        cdef CMissed *missed
        cdef Out *outs = nic_outs(self.core, &count)
        while True:
            found = nic_divergence(self.core, &diverged)
            until = min(diverged.after, count) if found else count
            while index < until:
                out = &outs[index]
                self.ready.append(self.frame_object(PORTS[out.port], out.base, out.size))
                index += 1
            if not found:
                break
            self.ready.append(to_python_divergence(&diverged, self.nic))
        nic_sent(self.core)
        for index in range(self.core.missed_count):
            missed = &self.core.missed[index]
            self.ready.append(Missed(missed.flow.decode(), missed.begin, missed.end))
        self.core.missed_count = 0
        cdef uint32_t bits = nic_exhausted(self.core)
        for why in Drop:
            if bits >> <int>why & 1:
                self.ready.append(Exhausted(self.nic, why, self.core.now))
        return 0
