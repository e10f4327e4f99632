# See flows.pxd.

from libc.stdint cimport int64_t
from libc.string cimport memcmp

from colo_proxy.datapath.align cimport Offset
from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport (
    F_ALIAS,
    F_ANCHORED,
    F_TOUCHED,
    Flow,
    Side,
    list_add,
    list_leave,
    table_add,
    table_find,
    table_remove,
    table_use,
)
from colo_proxy.datapath.key cimport Key, key_equal
from colo_proxy.datapath.pool cimport Node
from colo_proxy.datapath.seq cimport seq_eq
from colo_proxy.datapath.stream cimport incarnation, stream_closed, stream_pair
from colo_proxy.datapath.wire cimport ACK, K_TCP, RST, SYN
from colo_proxy.datapath.words cimport M_FAILED_OVER

cdef int64_t SECOND = 1000000000
cdef int64_t OVER = 60 * SECOND  # a closed connection (Linux keeps TIME-WAIT as long), an idle datagram flow
cdef int64_t FORGOTTEN = 3600 * SECOND  # an idle connection that a flow made anew would serve as well

cdef enum:
    SWEEP = 256  # flows looked at in one sweep
    SEARCH = 1024  # flows looked at for one that makes room
    PAIRS = 256  # waiting SYNs looked at


cdef Flow *flow_for_pvm(Core *core, const Key *key, Node *node) noexcept nogil:
    cdef Flow *oldest = table_find(&core.table, key, False)
    cdef Flow *flow = oldest
    cdef Flow *other
    if node.packet.kind == K_TCP and oldest != NULL:
        flow = incarnation(oldest, node)
    if flow == NULL:
        flow = make(core, key, False)
        if flow == NULL:
            return NULL
        if opens(node):
            other = find_pair(core.svm_syns.first, key)
            if other != NULL:
                join(core, flow, other)
            else:
                list_add(&core.pvm_syns, flow)
    elif opens(node) and awaits_pair(core, flow) and not flow.pvm.syn:
        list_leave(flow)  # the SVM chose the same port, and was first
    table_use(&core.table, flow, core.now)
    if oldest != NULL and flow != oldest:
        retire(core, oldest)
    return flow


cdef Flow *flow_for_svm(Core *core, const Key *key, Node *node) noexcept nogil:
    cdef Flow *oldest = table_find(&core.table, key, True)
    cdef Flow *flow
    if oldest != NULL:
        oldest = oldest.target
    else:
        oldest = table_find(&core.table, key, False)
    flow = oldest
    if node.packet.kind == K_TCP and oldest != NULL:
        flow = incarnation(oldest, node)
    if flow == NULL:
        if opens(node):
            flow = find_pair(core.pvm_syns.first, key)
            if flow != NULL:
                list_leave(flow)
                flow.svm_port = key.local_port
                name_alias(core, flow, key)
                table_use(&core.table, flow, core.now)
                return flow
        if oldest != NULL and oldest.alias != NULL and key_equal(&oldest.alias.key, key):
            flow_lose_alias(core, oldest)  # the SVM has left that connection behind
        flow = make(core, key, False)
        if flow == NULL:
            return NULL
        if opens(node):
            list_add(&core.svm_syns, flow)
    elif opens(node) and awaits_pair(core, flow) and not flow.svm.syn:
        list_leave(flow)
    table_use(&core.table, flow, core.now)
    if oldest != NULL and flow != oldest:
        retire(core, oldest)
    return flow


cdef Flow *flow_for_uplink(Core *core, const Key *key) noexcept nogil:
    cdef Flow *flow = table_find(&core.table, key, False)
    cdef Flow *known = flow
    while flow != NULL:
        if core.mode == M_FAILED_OVER and flow.svm.open:
            known = flow
        elif core.settings.passthrough and flow.pvm.open:
            known = flow
        elif flow.flags & F_ANCHORED and not (flow.pvm.syn and seq_eq(flow.matched, flow.pvm.isn)):
            known = flow
        flow = flow.newer
    return known


cdef const Offset *offset_of_flow(const Flow *flow, Offset *into) noexcept nogil:
    into.seq = flow.offset
    into.ts = flow.ts_offset
    into.svm_port = flow.svm_port
    into.pvm_port = flow.key.local_port
    return into


cdef Flow *flow_for_quote(Core *core, const Key *key) noexcept nogil:
    cdef Flow *alias = table_find(&core.table, key, True)
    return flow_for_uplink(core, key if alias == NULL else &alias.target.key)


# Guest-initiated connections: each guest picks a source port of its own, so their SYNs are paired by what
# both must agree on, in order.

cdef bint opens(const Node *node) noexcept nogil:
    return node.packet.kind == K_TCP and node.packet.flags & (SYN | ACK | RST) == SYN


cdef bint has_spoken(const Side *side) noexcept nogil:
    """Segments without a place (3.1) open nothing, and yet may be held here."""
    return side.open or side.first != NULL or side.pure_first != NULL


cdef Flow *find_pair(Flow *first, const Key *key) noexcept nogil:
    cdef int left = PAIRS
    while first != NULL and left:
        # Where both have spoken by now (the other without a SYN, so in mid-stream) there is nothing to pair.
        if not (has_spoken(&first.pvm) and has_spoken(&first.svm)) and \
                first.key.remote_port == key.remote_port and first.key.vlan == key.vlan and \
                first.key.version == key.version and \
                memcmp(first.key.remote, key.remote, sizeof(key.remote)) == 0 and \
                memcmp(first.key.local, key.local, sizeof(key.local)) == 0:
            return first
        first = first.list_next
        left -= 1
    return NULL


cdef bint awaits_pair(const Core *core, const Flow *flow) noexcept nogil:
    return flow.list == &core.pvm_syns or flow.list == &core.svm_syns


cdef void name_alias(Core *core, Flow *flow, const Key *key) noexcept nogil:
    cdef Flow *alias = table_find(&core.table, key, True)
    if key_equal(&flow.key, key):
        if alias != NULL:
            flow_lose_alias(core, alias.target)  # the port has its own meaning again
        return
    if alias != NULL:
        alias.target.alias = NULL  # the SVM uses the port again
    else:
        alias = table_add(&core.table, key, True, core.now)
        if alias == NULL:
            return
        core.pool.flows += 1
    alias.target = flow
    flow.alias = alias


cdef void join(Core *core, Flow *flow, Flow *svm) noexcept nogil:
    """The SVM's SYN came first, under a key of its own: its side moves into the PVM's flow."""
    cdef Key key = svm.key
    list_leave(svm)
    stream_pair(core, flow, svm)
    svm.waiting = 0
    flow_remove(core, svm)
    name_alias(core, flow, &key)


# The bound.

cdef Flow *make(Core *core, const Key *key, bint alias) noexcept nogil:
    cdef Flow *flow
    if core.pool.flows >= core.pool.max_flows and not make_room(core):
        return NULL
    flow = table_add(&core.table, key, alias, core.now)
    if flow != NULL:
        core.pool.flows += 1
    return flow


cdef void flow_remove(Core *core, Flow *flow) noexcept nogil:
    """Take out a flow on which nothing waits, and its alias."""
    list_leave(flow)
    if flow.alias != NULL:
        flow_lose_alias(core, flow)
    if flow.flags & F_TOUCHED:
        untouch(core, flow)
    if core.swept == flow:
        core.swept = flow.idle_next
    table_remove(&core.table, flow)
    core.pool.flows -= 1


cdef void untouch(Core *core, const Flow *flow) noexcept nogil:
    cdef Flow **link = &core.touched
    while link[0] != flow:
        link = &link[0].commit_next
    link[0] = flow.commit_next


cdef void flow_lose_alias(Core *core, Flow *flow) noexcept nogil:
    cdef Flow *alias = flow.alias
    flow.alias = NULL
    if core.swept == alias:
        core.swept = alias.idle_next
    table_remove(&core.table, alias)
    core.pool.flows -= 1


cdef void retire(Core *core, Flow *oldest) noexcept nogil:
    """Let go of an incarnation that both sides have left behind."""
    if oldest.waiting == 0 and not oldest.flags & F_TOUCHED and oldest.newer != NULL and \
            (oldest.newer.pvm.open or core.mode == M_FAILED_OVER) and oldest.newer.svm.open:
        flow_remove(core, oldest)


cdef bint replaceable(const Core *core, const Flow *flow) noexcept nogil:
    """Whether a flow made anew at the next packet would serve as well: nothing held, no offset to lose."""
    if flow.waiting or flow.flags & (F_ALIAS | F_TOUCHED) or awaits_pair(core, flow):
        return False
    if flow.key.kind != K_TCP:
        return True
    return stream_closed(flow) or (flow.offset == 0 and flow.ts_offset == 0 and flow.alias == NULL)


cdef bint make_room(Core *core) noexcept nogil:
    cdef Flow *flow = core.table.idle_first
    cdef int left = SEARCH
    while flow != NULL and left:
        if replaceable(core, flow):
            flow_remove(core, flow)
            return True
        flow = flow.idle_next
        left -= 1
    return False


cdef void sweep(Core *core) noexcept nogil:
    cdef Flow *flow = core.swept if core.swept != NULL else core.table.idle_first
    cdef Flow *behind
    cdef int left = SWEEP
    cdef int64_t idle
    while flow != NULL and left:
        idle = core.now - flow.used
        if idle < OVER:
            flow = NULL  # what follows was used later still
            break
        behind = flow.idle_next
        if replaceable(core, flow) and (idle >= FORGOTTEN or flow.key.kind != K_TCP or stream_closed(flow)):
            flow_remove(core, flow)
        flow = behind
        left -= 1
    core.swept = flow
