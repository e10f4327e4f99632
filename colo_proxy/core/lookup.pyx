"""Finding the flow of a frame, making flows, and letting them go within the bound (T10, B2).

Past 400 lines: which incarnation a segment is of, and which SYNs pair, is one question.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t

from colo_proxy.core.align.aligner cimport Offset
from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.digests cimport digests_drop
from colo_proxy.core.flow.flow cimport F_ANCHORED, F_OTHER_PORT, F_TOUCHED, Flow, Side, flow_is_alias
from colo_proxy.core.flow.flow_list cimport flow_list_add, flow_list_leave
from colo_proxy.core.flow.pool cimport N_SVM, Node
from colo_proxy.core.flow.table cimport table_add, table_find, table_remove, table_use
from colo_proxy.core.packet.key cimport Key, key_alike, key_equal
from colo_proxy.core.packet.parse cimport ACK, K_TCP, RST, SYN
from colo_proxy.core.packet.seq cimport seq_eq
from colo_proxy.core.tcp.anchor cimport anchor_in_midstream
from colo_proxy.core.tcp.capture_gap cimport capture_gap_at_end
from colo_proxy.core.tcp.ranges cimport ranges_any, ranges_drop
from colo_proxy.core.tcp.stream cimport stream_closed, stream_pair
from colo_proxy.core.tcp.tries cimport tries_another
from colo_proxy.core.vocabulary cimport M_FAILED_OVER

cdef int64_t SECOND = 1000000000
cdef int64_t OVER = 60 * SECOND  # a closed connection (Linux keeps TIME-WAIT as long), an idle datagram flow
cdef int64_t FORGOTTEN = 3600 * SECOND  # an idle connection that a flow made anew would serve as well

cdef enum:
    SWEEP = 256  # flows looked at in one sweep
    SEARCH = 1024  # flows looked at for one that makes room
    PAIRS = 256  # waiting SYNs looked at


cdef Flow *lookup_pvm(Core *core, const Key *key, Node *node) noexcept nogil:
    cdef Flow *oldest = table_find(&core.table, key, False)
    cdef Flow *flow = oldest
    cdef Flow *other = NULL
    if node.packet.kind == K_TCP and oldest != NULL:
        flow = incarnation(core, oldest, node, key.local_port)
    if flow == NULL and opens(node):
        other = svm_syn_for(core, key)
        if other != NULL and key_equal(&other.key, key) and not lookup_left_by_pvm(other):
            flow = other  # the SVM chose the same port, and was first
            other = NULL
    if flow == NULL:
        flow = lookup_make(core, key, False)
        if flow == NULL:
            return NULL
        if other != NULL:
            join(core, flow, other)
        elif opens(node):
            flow_list_add(&core.pvm_syns, flow)
    elif opens(node) and lookup_awaits_pair(core, flow) and not flow.pvm.syn:
        flow_list_leave(flow)
    table_use(&core.table, flow, core.now)
    if oldest != NULL and flow != oldest:
        retire(core, oldest)
    return flow


cdef Flow *lookup_svm(Core *core, const Key *key, Node *node) noexcept nogil:
    cdef Flow *alias = table_find(&core.table, key, True)
    cdef Flow *oldest = table_find(&core.table, key if alias == NULL else &alias.target.key, False)
    cdef Flow *flow = oldest
    cdef uint16_t meant
    if node.packet.kind == K_TCP and oldest != NULL:
        flow = incarnation(core, oldest, node, key.local_port)
    if flow == NULL and opens(node):
        flow = pvm_syn_for(core, key)
    if flow == NULL:
        meant = meaning(core, alias, oldest, key)
        if alias != NULL:
            lookup_lose_alias(core, alias.target)  # the SVM has left that connection behind
        flow = lookup_make(core, key, False)
        if flow == NULL:
            return NULL
        flow.meant = meant
        if opens(node):
            flow_list_add(&core.svm_syns, flow)
    elif opens(node) and not flow.svm.syn:
        if lookup_awaits_pair(core, flow):
            flow_list_leave(flow)
        name_port(core, flow, key)
    table_use(&core.table, flow, core.now)
    if oldest != NULL and flow != oldest:
        retire(core, oldest)
    return flow


# The incarnations of a flow (T10).

cdef Flow *incarnation(Core *core, Flow *oldest, const Node *node, uint16_t port) noexcept nogil:
    """The incarnation that a segment from `port` belongs to; NULL: it is none of these, or opens another."""
    cdef Flow *flow = oldest
    cdef Flow *current = NULL
    cdef bint svm = (node.flags & N_SVM) != 0
    cdef Side *side
    cdef Side *other
    cdef bint anew = node.packet.flags & SYN and not node.packet.flags & RST
    if oldest.newer == NULL and not anew:  # nearly every segment
        return oldest if concerns(core, oldest, node, port) else NULL
    while flow != NULL:
        if concerns(core, flow, node, port):
            side = &flow.svm if svm else &flow.pvm
            if anew and side.syn and said_again(side, node) and not stream_closed(flow):
                return flow
            if side.open or current == NULL:
                current = flow
        flow = flow.newer
    if current == NULL:
        return NULL
    side = &current.svm if svm else &current.pvm
    if anew and tries_another(side, node):
        return current
    other = &current.pvm if svm else &current.svm
    # Of a connection that only the other side has opened, this SYN is the one it lacks.
    if anew and (side.syn or (not other.syn and (anchor_in_midstream(current) or stream_closed(current)))):
        current = current.newer
        while current != NULL and not concerns(core, current, node, port):
            current = current.newer
    return current


cdef bint concerns(const Core *core, const Flow *flow, const Node *node, uint16_t port) noexcept nogil:
    """Whether a segment may be of this incarnation at all."""
    if not node.flags & N_SVM:
        # A SYN that the SVM has sent from this port is the PVM's to take only by the rule (3.1).
        return not opens(node) or flow.list != &core.svm_syns or has_spoken(&flow.pvm)
    if not flow.svm.open:
        return True
    return port == (flow.svm_port if flow.flags & F_OTHER_PORT else flow.key.local_port)


cdef bint said_again(const Side *side, const Node *node) noexcept nogil:
    """Whether a SYN is a retransmission. A guest may take the same ISN again, for another connection."""
    if side.answered and node.packet.flags & ACK and not seq_eq(side.irs, node.packet.ack):
        return False
    return seq_eq(side.isn, node.packet.seq)


cdef bint lookup_left_by_pvm(const Flow *flow) noexcept nogil:
    """Whether the PVM has gone on to a newer incarnation."""
    flow = flow.newer
    while flow != NULL and not flow.pvm.open:
        flow = flow.newer
    return flow != NULL


cdef bint left_by_svm(const Flow *flow) noexcept nogil:
    flow = flow.newer
    while flow != NULL and not flow.svm.open:
        flow = flow.newer
    return flow != NULL


# What clients say.

cdef Flow *lookup_uplink(Core *core, const Key *key) noexcept nogil:
    cdef Flow *flow = table_find(&core.table, key, False)
    cdef Flow *found = flow
    while flow != NULL:
        if known(core, flow):
            found = flow
        flow = flow.newer
    return found


cdef bint known(const Core *core, const Flow *flow) noexcept nogil:
    """Whether clients know of this incarnation."""
    if core.mode == M_FAILED_OVER and flow.svm.open:
        return True
    if core.settings.passthrough and flow.pvm.open:
        return True
    return flow.flags & F_ANCHORED and not (flow.pvm.syn and seq_eq(flow.matched, flow.pvm.isn))


cdef const Offset *lookup_offset(const Flow *flow, Offset *into) noexcept nogil:
    into.seq = flow.offset
    into.ts = flow.ts_offset
    into.svm_port = flow.svm_port
    into.pvm_port = flow.key.local_port
    return into


cdef Flow *lookup_quote(Core *core, const Key *key) noexcept nogil:
    cdef Flow *alias = table_find(&core.table, key, True)
    cdef Flow *flow = table_find(&core.table, key if alias == NULL else &alias.target.key, False)
    cdef Flow *found = NULL
    while flow != NULL:
        if flow.svm_port == key.local_port and (found == NULL or known(core, flow)):
            found = flow
        flow = flow.newer
    return found


cdef Flow *lookup_received(Core *core, const Key *key) noexcept nogil:
    cdef Flow *flow = table_find(&core.table, key, False)
    cdef Flow *found = NULL
    while flow != NULL:
        if flow.svm.syn and flow.svm_port == key.local_port:
            found = flow
        flow = flow.newer
    return found


# Guest-initiated connections: each guest picks a source port of its own, so their SYNs are paired by what
# both must agree on, in order.

cdef bint opens(const Node *node) noexcept nogil:
    return node.packet.kind == K_TCP and node.packet.flags & (SYN | ACK | RST) == SYN


cdef bint has_spoken(const Side *side) noexcept nogil:
    """Segments without a place (3.1) open nothing, and yet may be held here."""
    return side.open or side.first != NULL or side.pure_first != NULL


cdef bint may_pair(const Flow *flow, const Key *key) noexcept nogil:
    """Whether a SYN that waits is to the destination that `key` names, from the same address.

    Where both have spoken by now (the other without a SYN, so in mid-stream) there is nothing to pair.
    """
    return not (has_spoken(&flow.pvm) and has_spoken(&flow.svm)) and \
        key_alike(&flow.key, key)


cdef Flow *svm_syn_for(Core *core, const Key *key) noexcept nogil:
    """The SVM's SYN that one of the PVM takes, under the PVM's key: the best by its port, then the oldest."""
    cdef Flow *flow = core.svm_syns.first
    cdef Flow *same = NULL
    cdef Flow *any = NULL
    cdef int left = PAIRS
    while flow != NULL and left:
        if may_pair(flow, key):
            if flow.meant == key.local_port:
                return flow
            if same == NULL and flow.key.local_port == key.local_port:
                same = flow
            if any == NULL:
                any = flow
        flow = flow.list_next
        left -= 1
    return any if same == NULL else same


cdef Flow *pvm_syn_for(Core *core, const Key *key) noexcept nogil:
    """The PVM's SYN that one of the SVM takes, whose port has no meaning any more: the same port, the oldest.

    `incarnation` has looked for that from the port which the SVM's was paired with.
    """
    cdef Flow *flow = core.pvm_syns.first
    cdef Flow *any = NULL
    cdef int left = PAIRS
    while flow != NULL and left:
        if may_pair(flow, key):
            if flow.key.local_port == key.local_port:
                return flow
            if any == NULL:
                any = flow
        flow = flow.list_next
        left -= 1
    return any


cdef Flow *svm_syn_in(const Core *core, Flow *oldest) noexcept nogil:
    """The latest of the SVM's SYNs that wait under a key."""
    cdef Flow *found = NULL
    while oldest != NULL:
        if oldest.list == &core.svm_syns:
            found = oldest
        oldest = oldest.newer
    return found


cdef uint16_t meaning(const Core *core, const Flow *alias, Flow *oldest, const Key *key) noexcept nogil:
    """The PVM's port that the SVM's is paired with, or was before a SYN that waits: its own at first."""
    cdef const Flow *waits
    if alias != NULL:
        return alias.target.key.local_port
    waits = svm_syn_in(core, oldest)
    return key.local_port if waits == NULL else waits.meant


cdef bint lookup_awaits_pair(const Core *core, const Flow *flow) noexcept nogil:
    return flow.list == &core.pvm_syns or flow.list == &core.svm_syns


cdef void name_port(Core *core, Flow *flow, const Key *key) noexcept nogil:
    """The SVM has opened this connection under `key`, which means it from now on."""
    set_port(flow, key)
    lookup_name_alias(core, flow, key)


cdef void set_port(Flow *flow, const Key *key) noexcept nogil:
    flow.svm_port = key.local_port
    if flow.svm_port != flow.key.local_port:
        flow.flags |= F_OTHER_PORT


cdef void lookup_name_alias(Core *core, Flow *flow, const Key *key) noexcept nogil:
    cdef Flow *alias = table_find(&core.table, key, True)
    if key_equal(&flow.key, key):
        if alias != NULL:
            lookup_lose_alias(core, alias.target)  # the port has its own meaning again
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
    flow_list_leave(svm)
    stream_pair(core, flow, svm)
    svm.waiting = 0
    lookup_remove(core, svm)
    set_port(flow, &key)
    if svm_syn_in(core, table_find(&core.table, &key, False)) == NULL:
        lookup_name_alias(core, flow, &key)  # and the SVM has opened no other from there since


# The bound.

cdef Flow *lookup_make(Core *core, const Key *key, bint alias) noexcept nogil:
    cdef Flow *flow
    if core.pool.flows >= core.pool.max_flows and not make_room(core):
        return NULL
    flow = table_add(&core.table, key, alias, core.now)
    if flow != NULL:
        core.pool.flows += 1
    return flow


cdef void lookup_remove(Core *core, Flow *flow) noexcept nogil:
    """Take out a flow on which nothing waits, and its alias."""
    capture_gap_at_end(core, flow)
    flow_list_leave(flow)
    if flow.alias != NULL:
        lookup_lose_alias(core, flow)
    if flow.flags & F_TOUCHED:
        lookup_untouch(core, flow)
    if core.swept == flow:
        core.swept = flow.idle_next
    if core.digests != NULL:
        digests_drop(core.digests, &flow.trail)
    ranges_drop(core, flow)
    table_remove(&core.table, flow)
    core.pool.flows -= 1


cdef void lookup_untouch(Core *core, Flow *flow) noexcept nogil:
    cdef Flow **link = &core.touched
    while link[0] != flow:
        link = &link[0].commit_next
    link[0] = flow.commit_next
    flow.flags &= ~<uint32_t>F_TOUCHED


cdef void lookup_lose_alias(Core *core, Flow *flow) noexcept nogil:
    cdef Flow *alias = flow.alias
    flow.alias = NULL
    if core.swept == alias:
        core.swept = alias.idle_next
    table_remove(&core.table, alias)
    core.pool.flows -= 1


cdef void retire(Core *core, Flow *oldest) noexcept nogil:
    """Let go of an incarnation that both sides have left behind."""
    if oldest.waiting == 0 and not oldest.flags & F_TOUCHED and left_by_svm(oldest) and \
            (lookup_left_by_pvm(oldest) or (oldest.newer != NULL and core.mode == M_FAILED_OVER)):
        lookup_remove(core, oldest)


cdef bint replaceable(const Core *core, const Flow *flow) noexcept nogil:
    """Whether a flow made anew at the next packet would serve as well: nothing held, no offset to lose."""
    if flow.waiting or flow.flags & F_TOUCHED or flow_is_alias(flow) or lookup_awaits_pair(core, flow):
        return False
    if flow.key.kind != K_TCP:
        return True
    return stream_closed(flow) or (
        flow.offset == 0 and flow.ts_offset == 0 and flow.alias == NULL and not ranges_any(flow))


cdef bint make_room(Core *core) noexcept nogil:
    cdef Flow *flow = core.table.idle_first
    cdef int left = SEARCH
    while flow != NULL and left:
        if replaceable(core, flow):
            lookup_remove(core, flow)
            return True
        flow = flow.idle_next
        left -= 1
    return False


cdef bint soon_over(const Core *core, const Flow *flow) noexcept nogil:
    """Not where clients know the flow by a port that the only guest has not chosen."""
    if flow.key.kind == K_TCP:
        return stream_closed(flow)
    return flow.alias == NULL or core.mode != M_FAILED_OVER


cdef void lookup_sweep(Core *core) noexcept nogil:
    cdef Flow *flow = core.swept if core.swept != NULL else core.table.idle_first
    cdef int left = SWEEP
    cdef int64_t idle
    while flow != NULL and left:
        idle = core.now - flow.used
        if idle < OVER:
            flow = NULL  # what follows was used later still
            break
        core.swept = flow.idle_next  # which goes on, should that be the alias that goes with the flow
        if replaceable(core, flow) and (idle >= FORGOTTEN or soon_over(core, flow)):
            lookup_remove(core, flow)
        flow = core.swept
        left -= 1
    core.swept = flow
