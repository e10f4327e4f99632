"""Finding the flow of a frame, making flows, and removing them within the bound (T10, B2).

A flow lies in the table under the key that the PVM's frames have. A port that the SVM chose itself is an
alias, which points to the flow. When a 4-tuple is used again, the new connection is a new incarnation of the
flow, linked from the older one until both guests have left that behind. At the bound on flows, an idle one
makes room.

Past 400 lines: which incarnation a segment belongs to, and which SYNs pair, is one question.
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
# a closed connection (Linux keeps TIME-WAIT for as long), or an idle datagram flow
cdef int64_t OVER = 60 * SECOND
cdef int64_t FORGOTTEN = 3600 * SECOND  # an idle connection for which a flow made anew would be as good

cdef enum:
    SWEEP = 256  # flows looked at in one sweep
    SEARCH = 1024  # flows examined to find one that can make room
    PAIRS = 256  # waiting SYNs examined


cdef Flow *lookup_pvm(Core *core, const Key *key, Node *node) noexcept nogil:
    cdef Flow *oldest = table_find(&core.table, key, False)
    cdef Flow *flow = oldest
    cdef Flow *other = NULL
    if node.packet.kind == K_TCP and oldest != NULL:
        flow = incarnation(core, oldest, node, key.local_port)
    if flow == NULL and opens(node):
        other = svm_syn_for(core, key)
        if other != NULL and key_equal(&other.key, key) and not lookup_left_by_pvm(other):
            flow = other  # the SVM chose the same port, earlier
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
            lookup_lose_alias(core, alias.target)  # the SVM no longer uses that connection
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
    """The incarnation that a segment from `port` belongs to; NULL: none of these, or it opens another."""
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
    # Where only the other guest has opened the connection, this SYN is the missing one.
    if anew and (side.syn or (not other.syn and (anchor_in_midstream(current) or stream_closed(current)))):
        current = current.newer
        while current != NULL and not concerns(core, current, node, port):
            current = current.newer
    return current


cdef bint concerns(const Core *core, const Flow *flow, const Node *node, uint16_t port) noexcept nogil:
    """Whether a segment can belong to this incarnation at all."""
    if not node.flags & N_SVM:
        # A SYN that the SVM has sent from this port: only the rule (3.1) gives it to the PVM.
        return not opens(node) or flow.list != &core.svm_syns or has_spoken(&flow.pvm)
    if not flow.svm.open:
        return True
    return port == (flow.svm_port if flow.flags & F_OTHER_PORT else flow.key.local_port)


cdef bint said_again(const Side *side, const Node *node) noexcept nogil:
    """Whether a SYN is a retransmission. A guest may also use the same ISN again for another connection."""
    if side.answered and node.packet.flags & ACK and not seq_eq(side.irs, node.packet.ack):
        return False
    return seq_eq(side.isn, node.packet.seq)


cdef bint lookup_left_by_pvm(const Flow *flow) noexcept nogil:
    """Whether the PVM has opened a newer incarnation."""
    flow = flow.newer
    while flow != NULL and not flow.pvm.open:
        flow = flow.newer
    return flow != NULL


cdef bint left_by_svm(const Flow *flow) noexcept nogil:
    flow = flow.newer
    while flow != NULL and not flow.svm.open:
        flow = flow.newer
    return flow != NULL


# Frames of clients.

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


# Connections that the guests open: each guest chooses its own source port, so SYNs are paired by what must be
# equal in both, and in order.

cdef bint opens(const Node *node) noexcept nogil:
    return node.packet.kind == K_TCP and node.packet.flags & (SYN | ACK | RST) == SYN


cdef bint has_spoken(const Side *side) noexcept nogil:
    """Segments outside the stream (3.1) open nothing, and yet may be held here."""
    return side.open or side.first != NULL or side.pure_first != NULL


cdef bint may_pair(const Flow *flow, const Key *key) noexcept nogil:
    """Whether a waiting SYN has the destination in `key` and comes from the same address.

    If both guests have sent something by now (the other without a SYN, so in mid-stream), there is nothing to
    pair.
    """
    return not (has_spoken(&flow.pvm) and has_spoken(&flow.svm)) and \
        key_alike(&flow.key, key)


cdef Flow *svm_syn_for(Core *core, const Key *key) noexcept nogil:
    """The waiting SYN of the SVM for a SYN of the PVM with the PVM's key: preferably by its port, else the
    oldest.
    """
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
    """The waiting SYN of the PVM for a SYN of the SVM whose port is not paired yet: the same port, else the
    oldest.

    `incarnation` has already looked for one from the port that the SVM's port was paired with.
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
    """The PVM's port that the SVM's port is paired with, or was before a SYN that waits; at first the same
    port.
    """
    cdef const Flow *waits
    if alias != NULL:
        return alias.target.key.local_port
    waits = svm_syn_in(core, oldest)
    return key.local_port if waits == NULL else waits.meant


cdef bint lookup_awaits_pair(const Core *core, const Flow *flow) noexcept nogil:
    return flow.list == &core.pvm_syns or flow.list == &core.svm_syns


cdef void name_port(Core *core, Flow *flow, const Key *key) noexcept nogil:
    """The SVM has opened this connection under `key`, which belongs to the connection from now on."""
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
            lookup_lose_alias(core, alias.target)  # the port is the PVM's same port again
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
    """The SVM's SYN came first, under a key of its own: move its side into the PVM's flow."""
    cdef Key key = svm.key
    flow_list_leave(svm)
    stream_pair(core, flow, svm)
    svm.waiting = 0
    lookup_remove(core, svm)
    set_port(flow, &key)
    if svm_syn_in(core, table_find(&core.table, &key, False)) == NULL:
        lookup_name_alias(core, flow, &key)  # and the SVM has opened no other connection from there since


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
    """Remove a flow on which nothing waits, and its alias."""
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
    """Remove an incarnation that both sides have left behind."""
    if oldest.waiting == 0 and not oldest.flags & F_TOUCHED and left_by_svm(oldest) and \
            (lookup_left_by_pvm(oldest) or (oldest.newer != NULL and core.mode == M_FAILED_OVER)):
        lookup_remove(core, oldest)


cdef bint replaceable(const Core *core, const Flow *flow) noexcept nogil:
    """Whether a flow made anew at the next packet would be as good: nothing is held, and no offset would be
    lost.
    """
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
    """A flow that clients know by a port which the remaining guest has not chosen is kept."""
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
            flow = NULL  # the flows after it were used more recently
            break
        # continue behind the alias, if that is the one which is removed with the flow
        core.swept = flow.idle_next
        if replaceable(core, flow) and (idle >= FORGOTTEN or soon_over(core, flow)):
            lookup_remove(core, flow)
        flow = core.swept
        left -= 1
    core.swept = flow
