"""UDP flows that the guest begins: each guest chooses a source port (docs/comparison.md, end of section 4).

Until it is known which flow of the SVM belongs to which of the PVM, a flow is alone (F_ALONE). The PVM's flow
is in the table under its own key. The SVM's port is not paired yet, so its flow is among the aliases and
points to itself; it becomes the alias of the PVM's flow when the two are paired.

    core.pvm_alone, svm_alone       something has waited on them for less than the reordering window
    core.pvm_overdue, svm_overdue   for longer: now equal datagrams pair them, or else their order does

Each list is in the order in which the waiting datagrams arrived. A flow on which nothing waits is on none.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from colo_proxy.core.align.aligner cimport Offset, aligner_from_svm
from colo_proxy.core.core cimport Core
from colo_proxy.core.datagram.datagram cimport datagram_join, datagram_watch
from colo_proxy.core.datagram.equal cimport equal_but_for_port
from colo_proxy.core.flow.client_flows cimport client_flows_lately
from colo_proxy.core.flow.flow cimport F_ALIAS, F_ALONE, F_BLOCKED, F_TOUCHED, Flow, FlowList
from colo_proxy.core.flow.flow_list cimport flow_list_add, flow_list_leave
from colo_proxy.core.flow.pool cimport N_SVM, Node
from colo_proxy.core.flow.table cimport table_find, table_use
from colo_proxy.core.lookup cimport (
    lookup_make,
    lookup_name_alias,
    lookup_offset,
    lookup_remove,
    lookup_untouch,
)
from colo_proxy.core.packet.key cimport Key, key_alike, key_equal, key_hash
from colo_proxy.core.vocabulary cimport M_COMPARE

cdef enum:
    FLOWS = 256  # flows of the other guest examined for one
    DATAGRAMS = 256  # and datagrams that wait on them


cdef bint is_alone(const Flow *flow) noexcept nogil:
    return flow != NULL and flow.flags & (F_ALONE | F_BLOCKED) == F_ALONE


cdef bint says(const Flow *flow, Node *node, int *left) noexcept nogil:
    """Whether this datagram also waits on a flow of the other guest, no matter from which port it came."""
    cdef const Node *other = flow.pvm.first if node.flags & N_SVM else flow.svm.first
    while other != NULL and left[0] > 0:
        if equal_but_for_port(other, node, left):
            return True
        other = other.flow_next
    return False


cdef Flow *search(const FlowList *list, const Key *key, Node *node, int *left) noexcept nogil:
    cdef Flow *flow = list.first
    cdef int flows = FLOWS
    while flow != NULL and flows:
        if is_alone(flow) and key_alike(&flow.key, key) and says(flow, node, left):
            return flow
        flow = flow.list_next
        flows -= 1
    return NULL


cdef Flow *find_equal(Core *core, const Key *key, Flow *same_port, Node *node) noexcept nogil:
    """The other guest's flow that this datagram belongs to: from the same port, otherwise the oldest."""
    cdef int left = DATAGRAMS
    cdef bint svm = node.flags & N_SVM
    cdef Flow *found
    if is_alone(same_port) and says(same_port, node, &left):
        return same_port
    found = search(&core.pvm_overdue if svm else &core.svm_overdue, key, node, &left)
    if found == NULL:
        found = search(&core.pvm_alone if svm else &core.svm_alone, key, node, &left)
    return found


cdef void join(Core *core, Flow *flow, Flow *svm) noexcept nogil:
    """The SVM's flow is paired with the PVM's from now on."""
    flow_list_leave(flow)
    flow_list_leave(svm)
    if svm.flags & F_TOUCHED:
        lookup_untouch(core, svm)
    flow.flags &= ~<uint32_t>F_ALONE
    flow.svm_port = svm.key.local_port
    datagram_join(flow, svm)
    if key_equal(&flow.key, &svm.key):
        lookup_remove(core, svm)
    else:
        svm.flags = F_ALIAS
        svm.target = flow
        flow.alias = svm
    datagram_watch(core, flow)


cdef Flow *pairing_for_pvm(Core *core, const Key *key, Node *node) noexcept nogil:
    cdef Flow *flow = table_find(&core.table, key, False)
    cdef Flow *other
    if flow == NULL:
        flow = lookup_make(core, key, False)
        if flow == NULL:
            return NULL
        if not client_flows_lately(core.asked, flow.hash, core.now):
            flow.flags |= F_ALONE
        else:
            other = table_find(&core.table, key, True)
            if is_alone(other):
                join(core, flow, other)
    table_use(&core.table, flow, core.now)
    if is_alone(flow) and core.mode == M_COMPARE:
        other = find_equal(core, key, table_find(&core.table, key, True), node)
        if other != NULL:
            join(core, flow, other)
    return flow


cdef Flow *pair_svm(Core *core, const Key *key, Node *node, Flow *known, Flow *same_port) noexcept nogil:
    """The flow of a datagram whose port is not paired yet; `known`: where earlier ones of the SVM went."""
    cdef Flow *flow
    if known != NULL and known.flags & F_BLOCKED:
        return known
    flow = find_equal(core, key, same_port, node)
    if flow != NULL:
        if known != NULL:
            join(core, flow, known)
        else:
            flow_list_leave(flow)
            flow.flags &= ~<uint32_t>F_ALONE
            flow.svm_port = key.local_port
            lookup_name_alias(core, flow, key)
        return flow
    if known != NULL:
        return known
    flow = lookup_make(core, key, True)
    if flow != NULL:
        flow.flags |= F_ALONE
        flow.target = flow
    return flow


cdef Flow *pairing_for_svm(Core *core, const Key *key, Node *node) noexcept nogil:
    cdef Flow *alias = table_find(&core.table, key, True)
    cdef Flow *flow
    cdef Offset offset
    if alias != NULL and not alias.flags & F_ALONE:
        flow = alias.target
    else:
        flow = table_find(&core.table, key, False)
        if alias == NULL and flow == NULL and clients_began(core, key):
            flow = lookup_make(core, key, False)
        elif flow == NULL or flow.flags & F_ALONE or flow.svm_port != key.local_port:
            flow = pair_svm(core, key, node, alias, flow)
    if flow == NULL:
        return NULL
    table_use(&core.table, flow, core.now)
    aligner_from_svm(&node.packet, node.data, lookup_offset(flow, &offset))
    return flow


cdef bint clients_began(const Core *core, const Key *key) noexcept nogil:
    return client_flows_lately(core.asked, <uint32_t>key_hash(key, core.table.seed), core.now)


cdef Flow *pairing_known(Core *core, const Key *key) noexcept nogil:
    cdef Flow *alias = table_find(&core.table, key, True)
    if alias == NULL or alias.flags & F_ALONE:
        return NULL
    table_use(&core.table, alias.target, core.now)
    return alias.target


# Flows that have waited for the reordering window.

cdef int64_t grow_overdue(Core *core, FlowList *young, FlowList *old, int64_t before) noexcept nogil:
    """Move flows whose first datagram has waited since before then. Return when the next one arrived."""
    cdef Flow *flow = young.first
    cdef const Node *node
    while flow != NULL:
        node = flow.svm.first if flow.flags & F_ALIAS else flow.pvm.first
        if node == NULL:
            flow_list_leave(flow)
        elif node.time > before:
            return node.time
        else:
            flow_list_add(old, flow)
            flow.watched_since = core.now
        flow = young.first
    return INT64_MAX


cdef Flow *first_moved(const Core *core, const FlowList *old) noexcept nogil:
    """The first of those that have just been moved."""
    cdef Flow *flow = old.last
    if flow == NULL or flow.watched_since != core.now:
        return NULL
    while flow.list_prev != NULL and flow.list_prev.watched_since == core.now:
        flow = flow.list_prev
    return flow


cdef Flow *partner(Core *core, const Flow *flow, const FlowList *others, bint same_port) noexcept nogil:
    cdef Flow *other
    cdef int flows = FLOWS
    if same_port:
        other = table_find(&core.table, &flow.key, not flow.flags & F_ALIAS)
        return other if is_alone(other) and other.list == others and other.waiting else NULL
    other = others.first
    while other != NULL and flows:
        if is_alone(other) and other.waiting and key_alike(&other.key, &flow.key):
            return other
        other = other.list_next
        flows -= 1
    return NULL


cdef void pair_moved(Core *core, const FlowList *these, const FlowList *others,
                     bint same_port) noexcept nogil:
    cdef Flow *flow = first_moved(core, these)
    cdef Flow *behind
    cdef Flow *other
    cdef Flow *oldest
    while flow != NULL:
        behind = flow.list_next
        other = partner(core, flow, others, same_port) if is_alone(flow) and flow.waiting else NULL
        if other != NULL and not same_port:  # an older flow of the same guest may still wait
            oldest = partner(core, other, these, False)
            flow = oldest if oldest != NULL else flow
        if other != NULL and flow.flags & F_ALIAS:
            join(core, other, flow)
        elif other != NULL:
            join(core, flow, other)
        flow = behind


cdef int64_t pair_in_order(Core *core, int64_t before) noexcept nogil:
    cdef int64_t soonest = min(grow_overdue(core, &core.pvm_alone, &core.pvm_overdue, before),
                               grow_overdue(core, &core.svm_alone, &core.svm_overdue, before))
    pair_moved(core, &core.pvm_overdue, &core.svm_overdue, True)
    pair_moved(core, &core.svm_overdue, &core.pvm_overdue, True)
    pair_moved(core, &core.pvm_overdue, &core.svm_overdue, False)
    pair_moved(core, &core.svm_overdue, &core.pvm_overdue, False)
    return soonest


cdef int64_t pairing_due(Core *core) noexcept nogil:
    cdef int64_t next = pair_in_order(core, core.now - core.settings.reorder)
    return next + core.settings.reorder if next < INT64_MAX - core.settings.reorder else INT64_MAX


cdef void pairing_at_end(Core *core) noexcept nogil:
    pair_in_order(core, core.now)
