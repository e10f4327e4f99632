# What holds after every step, whatever came in: the books of the comparator agree with each other.

cdef void check(Story *story) noexcept nogil:
    """What holds after every step."""
    cdef Core *core = story.core
    cdef Node *node = core.held.first
    cdef Node *before = NULL
    cdef Flow *flow = core.table.idle_first
    cdef uint64_t frames = 0
    cdef uint64_t bytes = 0
    if story.pool.held_bytes + story.pool.spare_bytes > story.max_bytes:
        fail(story, "more memory than max_held_bytes")
    if core.table.count > 2 * story.pool.max_flows:  # a flow may have one alias
        fail(story, "more flows than max_flows")
    while node != NULL:
        if node.prev != before:
            fail(story, "the list of held frames is torn")
        if not node.flags & N_OWED:
            pool_weigh(node, &frames, &bytes)
        before = node
        node = node.next
    if core.held.last != before:
        fail(story, "the list of held frames has another end")
    if frames != core.counts.held_frames or bytes != core.counts.held_bytes:
        fail(story, "held_frames or held_bytes is not what is held")
    check_list(story, &core.watched)
    check_list(story, &core.pvm_syns)
    check_list(story, &core.svm_syns)
    check_list(story, &core.pvm_alone)
    check_list(story, &core.svm_alone)
    check_list(story, &core.pvm_overdue)
    check_list(story, &core.svm_overdue)
    while flow != NULL:
        if not flow_is_alias(flow):
            check_flow(story, flow, &flow.pvm, flow.owed)
            check_flow(story, flow, &flow.svm, NULL)
        flow = flow.idle_next


cdef void check_list(Story *story, FlowList *list) noexcept nogil:
    cdef Flow *flow = list.first
    cdef Flow *before = NULL
    while flow != NULL:
        if flow.list != list or flow.list_prev != before:
            fail(story, "a list of flows is torn")
            return
        before = flow
        flow = flow.list_next
    if list.last != before:
        fail(story, "a list of flows has another end")


cdef void check_flow(Story *story, Flow *flow, Side *side, Node *owed) noexcept nogil:
    cdef uint64_t bytes = chain_cost(side.first) + chain_cost(side.pure_first)
    cdef Node *node = side.low
    cdef Node *before = NULL
    if owed != NULL:
        bytes += pool_node_cost(owed)
    if bytes != side.bytes:
        fail(story, "a flow's bytes are not what it holds")
    # A frame is as large as the bound's last, and its fragments as that again.
    if bytes > story.core.settings.max_flow_bytes + 3 * (MAX_FRAME + 4096):
        fail(story, "a flow holds more than max_flow_bytes")
    while node != NULL:
        if node.sort_prev != before or <Flow *>node.flow != flow:
            fail(story, "a sorted list is torn")
        before = node
        node = node.sort_next
    if side.high != before:
        fail(story, "a sorted list has another end")


cdef uint64_t chain_cost(const Node *node) noexcept nogil:
    cdef uint64_t cost = 0
    cdef const Node *piece
    while node != NULL:
        piece = node
        while piece != NULL:
            cost += pool_node_cost(piece)
            piece = piece.chain
        node = node.flow_next
    return cost
