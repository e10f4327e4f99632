"""The state of one NIC's comparator, and what may happen to a frame.

A frame arrives as a node that still lies in a receive buffer (N_RX). It is judged (stream.pyx, datagram.pyx)
and then one of four things happens to it, each a function here: it is *emitted*, *dropped*, *held* (put on
the lists; if it is still held when judging is over, `core_settle` copies it into the pool) or kept unjudged
in *limbo* for the next epoch.

Lists: `held` (of the PVM) and `pending` (of the SVM) link what waits, over all flows and in order of arrival,
so that a commit releases in order and a timeout looks only at the first. A node is on at most one of held,
pending and limbo; on its flow's list of data or of pure acknowledgements; and, for bytes not agreed yet, on
its flow's sorted list.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from colo_proxy.core.flow.client_flows cimport Asked
from colo_proxy.core.flow.digests cimport Digests
from colo_proxy.core.flow.flow cimport F_KEPT, Flow, FlowList, Side, Table
from colo_proxy.core.flow.fragments cimport Fragments
from colo_proxy.core.flow.late_copies cimport Late
from colo_proxy.core.flow.pool cimport N_SVM, Node, Pool
from colo_proxy.core.flow.recorder cimport Recorded, Recorder, recorder_flow
from colo_proxy.core.link.identity cimport Identity
from colo_proxy.core.link.neighbours cimport Neighbours
from colo_proxy.core.policy cimport Policies, Replaced
from colo_proxy.core.vocabulary cimport DropId, PortId, ReasonId

cdef enum:
    EARLY_FRAMES = 256  # clients' frames that wait for the SVM's SYN while observing
    # divergences that wait to be read; further ones are only counted, in a waiting one of the same reason
    MAX_DIVERGED = 64
    REASONS = 4

cdef struct Settings:
    int64_t timeout  # ns; 0: learned from the delay of the SVM
    int64_t reorder  # ns
    uint64_t max_flow_bytes
    uint64_t seed  # seed of the flow table's hash and of the digests
    uint64_t digest_bytes  # memory for checking retransmissions; 0: they are trusted
    bint observe  # continue after each divergence as if a checkpoint had been made
    bint passthrough  # with observe: PVM frames are released on arrival
    bint compare_only  # QEMU's filters do the mirroring and aligning (filter_rewriter.pxd)
    # frames come from captures: they may be longer than a port's frames, and some may be missing
    bint captured

cdef struct Out:
    uint8_t *base
    uint32_t size
    uint32_t port
    Node *node  # returned to the pool by core_sent

cdef struct Diverged:
    char[128] flow
    char[24] protocol
    int reason
    # divergences with this reason: this one, and those of other flows for which there was no room
    uint32_t count
    int64_t stream_offset
    int64_t time
    uint32_t after  # how many frames of the same event were sent before
    # malloc'ed copies from the Ethernet header on, or NULL; whoever takes the divergence frees them
    # (core_free_diverged).
    uint8_t *primary
    uint32_t primary_size
    uint8_t *secondary
    uint32_t secondary_size
    uint32_t seq_offset  # isn_svm - isn_pvm
    Recorded *exchanges  # the flow's last exchanges, oldest first; malloc'ed too
    uint32_t exchange_count

# What is missing from the PVM's capture of a stream (capture_gap.pxd), as stream offsets.
cdef struct Missed:
    char[128] flow
    int64_t begin
    int64_t end

# The counters of one NIC: 64-bit words, written only by the thread that owns the core.
cdef struct Counts:
    uint64_t[3] frames  # by port, received
    uint64_t[3] bytes
    uint64_t released  # frames of the PVM (after a failover: of the SVM) that were released
    uint64_t released_bytes
    uint64_t[REASONS * 4] divergences  # index: reason * 4 + protocol (tcp, udp, icmp, other)
    uint64_t[16] dropped  # by DropId
    uint64_t mode
    uint64_t held_frames
    uint64_t held_bytes
    uint64_t flows
    # bucket k: holds shorter than 2**k microseconds and not counted in bucket k - 1
    uint64_t[32] hold_buckets
    uint64_t hold_sum  # ns
    uint64_t timeout  # ns, the timeout in force
    # TCP segments of the PVM and of the SVM that began beyond the end of what that guest had sent
    uint64_t[2] gaps
    uint64_t[2] resent  # and those that began before that end
    uint64_t asked  # requests for neighbours that the proxy has sent for the SVM
    uint64_t unverified  # retransmissions released unchecked, or not checked completely (T14)

cdef struct List:
    Node *first
    Node *last

cdef struct Core:
    Pool *pool
    Settings settings
    Counts counts
    Table table
    Policies *policies
    Replaced replaced
    Fragments *pvm_fragments
    Fragments *svm_fragments
    Digests *digests  # NULL: retransmissions are not checked
    Neighbours *neighbours
    Identity identity
    Recorder *recorder
    Asked *asked
    Late *late  # NULL: nothing is released before the SVM has sent it
    List held
    List pending
    List limbo
    Node *due_held  # the first node that no divergence has reported
    Node *due_pending
    Node *kept_held  # the first node for which the recorder does not keep the exchanges yet (KEEP)
    Node *kept_pending
    Flow *touched  # flows that a commit must update, linked by commit_next
    Flow *swept  # where the search for flows that can be removed continues
    FlowList watched  # flows to examine `settings.reorder` after flow.watched_since (D3, T13)
    FlowList pvm_syns  # SYNs of guests that wait for the SYN of the other guest
    FlowList svm_syns
    FlowList pvm_alone  # UDP flows that a guest has begun (pairing.pxd)
    FlowList svm_alone
    FlowList pvm_overdue
    FlowList svm_overdue
    int64_t now
    uint64_t order
    int mode
    bint svm_stopped  # between the SVM's stop and the commit: what it sends belongs to the new epoch
    bint svm_loaded  # and it has reported that it runs on the PVM's state
    bint pvm_stopped
    uint32_t exhausted
    int64_t lag  # learned: the largest delay of the SVM in this window of time, ns
    int64_t lag_before  # the same of the previous window; negative: there was none
    int64_t lag_since  # when this window began
    uint64_t lag_samples  # number of samples in this window
    Node rx  # the frame that is being judged
    Node *early[EARLY_FRAMES]  # clients' frames that wait for the SVM's SYN, a ring (observing.pxd)
    uint32_t early_first
    uint32_t early_count
    # the node of the pool into which it was received, or NULL; set to NULL when the frame stays in it
    Node *home
    Out *outs
    uint32_t out_count
    uint32_t out_room
    # large enough that there is always one of each reason to count in
    Diverged[MAX_DIVERGED + REASONS] diverged
    uint32_t diverged_first
    uint32_t diverged_count
    Missed *missed  # until they are read
    uint32_t missed_count
    uint32_t missed_room

cdef inline Flow *core_flow_of(Node *node) noexcept nogil:
    return <Flow *>node.flow

cdef inline Side *core_side_of(Node *node) noexcept nogil:
    """The side of its flow that a node belongs to."""
    return &core_flow_of(node).svm if node.flags & N_SVM else &core_flow_of(node).pvm

cdef int64_t core_timeout_of(const Core *core) noexcept nogil
cdef int core_protocol_of(const Flow *flow) noexcept nogil
cdef void core_hold(Core *core, Flow *flow, Node *node) noexcept nogil
# Remove a node from its side's list by sequence number.
cdef void core_unsort(Node *node) noexcept nogil
cdef void core_unhold(Core *core, Node *node) noexcept nogil
cdef Node *core_pooled(Core *core, Node *node) noexcept nogil
cdef bint core_settle(Core *core, Node *node) noexcept nogil
cdef void core_emit(Core *core, Node *node) noexcept nogil
cdef void core_emit_to(Core *core, uint8_t *base, uint32_t size, PortId port, Node *node) noexcept nogil
cdef void core_discard(Core *core, Node *node) noexcept nogil
# Remove a node from all lists and discard it.
cdef void core_forget(Core *core, Node *node) noexcept nogil
cdef void core_drop(Core *core, Node *node, DropId why) noexcept nogil
cdef void core_keep_for_next_epoch(Core *core, Node *node) noexcept nogil
# Put a flow on the list that the next commit processes.
cdef void core_touch(Core *core, Flow *flow) noexcept nogil
# Record which flow a frame belongs to, and which frames it was reassembled from.
cdef inline void core_record_flow(Core *core, const Flow *flow, const Node *node) noexcept nogil:
    if node.chain == NULL and not flow.flags & F_KEPT:  # nearly every frame
        recorder_flow(core.recorder, node.order, flow.hash)
    else:
        core_record_pieces(core, flow, node)

cdef void core_record_pieces(Core *core, const Flow *flow, const Node *node) noexcept nogil
# A node has waited for a while: keep its flow's exchanges for a report from now on.
cdef void core_keep_exchanges(Core *core, Node *node) noexcept nogil
cdef void core_learn_lag(Core *core, int64_t lag) noexcept nogil
cdef void core_diverge(Core *core, Flow *flow, ReasonId reason, int64_t offset,
                       const Node *pvm, const Node *svm) noexcept nogil
# Free what a divergence owns.
cdef void core_free_diverged(Diverged *diverged) noexcept nogil
