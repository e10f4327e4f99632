"""Flows: what is known of each conversation, and the table that finds them.

A flow is the 5-tuple seen from the VM, plus VLAN (`Key`). One key may hold several *incarnations*, oldest
first, linked by `newer`: PVM and SVM open a 4-tuple again at different moments (rule T10), so each side has
its own current one. An *alias* is the key under which the SVM speaks of a guest-initiated connection for
which it chose another source port; it leads through `target` to the PVM's flow, one of the incarnations there
whose `svm_port` that is. An SVM's SYN that waits for the PVM's has a flow under the SVM's own key meanwhile.

Reading guide: `pvm` and `svm` hold what that guest said; the fields after them hold what both have agreed on
and what clients have been told. Positions are the PVM's sequence numbers; an SVM number is moved by `offset`
first.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from colo_proxy.core.flow.digests cimport Trail
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.key cimport Key
from colo_proxy.core.packet.seq cimport Seq

cdef enum FlowFlag:
    F_ALIAS = 1
    F_BLOCKED = 2  # a divergence waits for its commit (C1)
    F_ANCHORED = 4  # low and matched are set
    F_TOLD = 8  # told_ack and told_edge are set
    F_DISORDERED = 16  # the PVM's held segments are not in order of sequence numbers
    F_CONTRADICTED = 32  # the PVM has said two things about one position (T2)
    F_HEARD = 64  # heard_ack is set (observing.pxd)
    F_OWN_OFFSET = 128  # offset was learned
    F_FORGET = 1024  # what the SVM has said is to be forgotten at the observed commit
    F_GATHERED = 512  # its waiting PVM frames have been gone through by an observed commit
    F_FINISHED = 2048  # the agreed range ends with the FIN
    F_REWRITTEN = 4096  # the SVM's segments come in the PVM's numbers (filter_rewriter.pxd)
    F_OWN_NUMBERS = 8192  # in its own
    F_OTHER_PORT = 16384  # svm_port is not the key's
    F_PROVISIONAL = 32768  # the agreed range ends, empty, where an empty segment was: it may begin one higher
    F_RAISED = 65536  # and so it does
    F_RESET_LEFT = 131072  # both have reset it, and clients know
    F_FORMS = 262144  # a guest has sent its SYN in several forms
    F_ACKNOWLEDGED = 524288  # `acknowledged` is set (retransmission.pxd)
    F_ALONE = 1 << 29  # begun by a guest; which of the other guest's flows it is, is not known (pairing.pxd)
    F_BEYOND = 1048576  # `beyond` is set
    F_STAMPED = 4194304  # told_stamp is set
    F_AGAIN = 1 << 27  # again_stamp is set
    F_TRIES = 1 << 23  # a guest has repeated its SYN/ACK with another ISN (tries.pxd)
    F_PVM_TRY = 1 << 24  # which of the PVM's ISNs the connection goes on with is known
    F_SVM_TRY = 1 << 25
    F_ASTRAY = 1 << 26  # the PVM has sent bytes that have no place behind its SYN
    F_KEPT = 2097152  # `kept` is its place of the recorder, if that is still its
    F_TOUCHED = 256  # on the list of flows that a commit brings up to date
    F_FREE = 1 << 30  # no flow: its memory waits for the next one

cdef struct Flow

cdef enum:
    URGENT_MARKS = 4

# Flows, in the order in which they were put there. A flow is on one such list at most.
cdef struct FlowList:
    Flow *first
    Flow *last

cdef extern from "<stdbool.h>":
    ctypedef bint truth "bool"  # in a byte; a bint is an int

# Laid out for the cache, as Flow is: what each segment touches comes first.
cdef struct Side:
    truth open  # has said something
    truth syn  # isn is set
    truth acked  # ack is set
    truth reset
    truth fin  # FIN said, at `end` - 1
    truth unseen  # only an empty segment has shown that it got as far as `end`
    truth answered  # the SYN had an acknowledgement, `irs`
    uint8_t wscale  # 255: not known
    uint8_t marked  # how many of `marks` are set
    uint16_t window  # raw, of the latest segment
    uint16_t raw  # of the latest that was not behind the furthest acknowledgement
    Seq end  # one past the furthest position said
    Seq ack  # the furthest acknowledgement made
    Seq last_ack  # the latest
    Seq edge  # the right edge that it offered
    uint32_t longest  # sequence numbers of any node on the sorted list
    Node *first  # what waits, in order of arrival (data, datagrams)
    Node *last
    Node *low  # bytes not agreed, in order of sequence numbers
    Node *high
    Node *pure_first  # what waits and carries no bytes: acknowledgements, resets
    Node *pure_last
    uint64_t bytes  # memory that waits
    Seq isn
    Seq irs
    uint32_t syn_options  # those that bind, packed, of the form that counts (syn_forms.pxd)
    uint32_t tsval
    Seq[URGENT_MARKS] marks  # the latest urgent positions announced (urgent.pxd)
    Seq refused  # what its latest reset acknowledged

cdef enum:
    FORMS = 6

# In which options a guest has sent its SYN, in that order (syn_forms.pxd).
cdef struct Form:
    uint32_t options  # those that bind, packed: compared as one word
    uint32_t others  # a digest of those we know nothing of

cdef struct Forms:
    uint32_t count
    Form[FORMS] form

cdef enum:
    TRIES = 4

# Of one of a guest's SYN/ACKs.
cdef struct Try:
    Seq isn
    uint32_t tsval
    truth named  # a client's acknowledgement of it has reached the guest, as far as is known

# The ISNs of a guest's SYN/ACKs, the latest ones; none where there is but one, that of its side.
cdef struct Tries:
    uint32_t count
    truth shown  # the guest has sent a segment behind one of them
    truth received  # what the guest has received is known from its capture (tries_received)
    Try[TRIES] each

cdef struct Flow:
    # What a search reads: one cache line.
    uint32_t hash
    uint32_t flags
    Flow *chain  # next in the hash bucket
    Key key
    # What a segment in order touches: five more.
    int64_t used  # last, to a tenth of a second
    Flow *newer  # the next incarnation
    Node *owed
    int64_t position  # how far both have said the same: a stream's offset of `matched`, bytes of datagrams
    Seq low
    Seq matched
    Seq told_ack
    Seq told_edge
    uint32_t told_stamp  # the newest TSval that has left
    uint32_t told_echo  # and the TSecr that came with it
    uint32_t offset  # isn_svm - isn_pvm
    uint32_t waiting  # nodes of either side that wait
    uint32_t below  # PVM segments that wait below `low`
    Seq pieced  # inside the agreed range: how far a held super-frame has left in pieces (T13)
    Side pvm
    Side svm
    # What few packets touch.
    Flow *idle_prev  # order of last use
    Flow *idle_next
    FlowList *list  # the one that it is on, or NULL
    Flow *list_prev
    Flow *list_next
    Flow *commit_next
    Flow *target  # of an alias
    Flow *alias
    int64_t watched_since
    int64_t named_at  # when the SVM, before it sent anything behind its SYN, got an acknowledgement last
    uint64_t told_order  # of the segment that told the edge
    Seq floor  # where the last commit found the PVM: all below is in the SVM's state
    Forms pvm_forms
    Forms svm_forms
    Tries pvm_tries
    Tries svm_tries
    uint64_t pvm_text  # a keyed digest of its latest reset's text, 0: none
    uint64_t svm_text
    uint32_t ts_offset
    uint16_t svm_port
    uint16_t meant  # where only the SVM has opened it: the PVM's port that the SVM's was paired with before
    uint16_t heard_window  # raw, that of the clients' segment with heard_ack
    Seq heard_ack  # the furthest that clients have acknowledged, while observing
    uint32_t divergences
    uint32_t kept
    int64_t acknowledged  # by clients: a stream offset
    Trail trail  # what is agreed and not acknowledged
    uint32_t again_stamp  # the newest TSval of a retransmission of either guest, by the PVM's clock
    uint32_t told_again  # duplicates of told_ack that have left (duplicate.pxd)
    uint32_t svm_again  # and of its own acknowledgement that the SVM has sent
    Node *beyond  # whose data are the sets of ranges beyond `matched` (ranges.pxd), with F_BEYOND
    # datagrams
    uint64_t said_bytes  # of payload, by the PVM

cdef struct Slab:
    Slab *next
    size_t used  # bytes, this header included
    size_t size
    uint32_t first  # the place of its first flow: so many lie in the slabs before

cdef struct Table:
    Flow **buckets
    uint64_t size  # a power of two
    uint64_t count
    uint64_t aliases  # of them
    uint64_t seed
    Flow *idle_first  # longest idle
    Flow *idle_last
    Flow *spare
    Slab *slabs  # where the flows lie; they stay until the table is closed
    Flow *recent  # the latest that was found, no alias: the next packet is often its as well
    uint64_t changes  # flows added and taken out, ever

# What a later search is likely to find.
cdef struct Guess:
    uint32_t hash
    Flow *flow
    uint64_t changes  # of the table, when that was looked up

# An alias is no flow of its own; one of the SVM's that is alone lies among them, and is.
cdef inline bint flow_is_alias(const Flow *flow) noexcept nogil:
    return flow.flags & (F_ALIAS | F_ALONE) == F_ALIAS

cdef inline bint flow_has_own_numbers(const Flow *flow) noexcept nogil:
    """Whether the SVM knows a connection by other numbers than the PVM, or by another port."""
    return flow.offset != 0 or flow.ts_offset != 0 or flow.flags & F_OTHER_PORT != 0

cdef inline Flow *flow_next(Flow *flow) noexcept nogil:
    """The next in idle order that is no alias: an alias goes together with its flow."""
    flow = flow.idle_next
    while flow != NULL and flow_is_alias(flow):
        flow = flow.idle_next
    return flow
