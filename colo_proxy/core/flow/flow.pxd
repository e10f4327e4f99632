"""Flows: what is known of each conversation, and the table that finds them.

A flow is the 5-tuple seen from the VM, plus VLAN (`Key`). One key may have several *incarnations*, linked by
`newer` from the oldest on: PVM and SVM open a 4-tuple again at different moments (rule T10), so each side has
its own current one. An *alias* is the key with the source port that the SVM chose, where a guest opened the
connection and the PVM chose another port. `target` of an alias is the PVM's flow: the incarnation whose
`svm_port` is that port. While an SVM's SYN waits for the PVM's, it has a flow under the SVM's own key.

Reading guide: `pvm` and `svm` hold what that guest has sent; the fields after them hold what both have agreed
on and what clients have received. Positions are the PVM's sequence numbers; an SVM number is first converted
with `offset`.
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
    F_CONTRADICTED = 32  # the PVM has sent different bytes for one position (T2)
    F_HEARD = 64  # heard_ack is set (observing.pxd)
    F_OWN_OFFSET = 128  # offset was learned
    F_FORGET = 1024  # what the SVM has sent is to be forgotten at the observed commit
    F_GATHERED = 512  # an observed commit has processed its waiting PVM frames
    F_FINISHED = 2048  # the agreed range ends with the FIN
    F_REWRITTEN = 4096  # the SVM's segments arrive in the PVM's numbers (filter_rewriter.pxd)
    F_OWN_NUMBERS = 8192  # in the SVM's own numbers
    F_OTHER_PORT = 16384  # the SVM's port differs from the key's
    # the agreed range is empty and ends where an empty segment was: it may begin one higher
    F_PROVISIONAL = 32768
    F_RAISED = 65536  # and it does
    F_RESET_LEFT = 131072  # both have reset the connection, and clients know it
    F_FORMS = 262144  # a guest has sent its SYN with different options
    F_ACKNOWLEDGED = 524288  # `acknowledged` is set (retransmission.pxd)
    # begun by a guest, and not yet known which of the other guest's flows it is (pairing.pxd)
    F_ALONE = 1 << 29
    F_BEYOND = 1048576  # `beyond` is set
    F_STAMPED = 4194304  # told_stamp is set
    F_AGAIN = 1 << 27  # again_stamp is set
    F_TRIES = 1 << 23  # a guest has repeated its SYN/ACK with another ISN (tries.pxd)
    F_PVM_TRY = 1 << 24  # it is known with which of the PVM's ISNs the connection continues
    F_SVM_TRY = 1 << 25
    F_ASTRAY = 1 << 26  # the PVM has sent bytes that do not fit the stream behind its SYN
    F_KEPT = 2097152  # `kept` is its place of the recorder, if the place is still its own
    F_TOUCHED = 256  # on the list of flows that a commit updates
    F_FREE = 1 << 30  # not in use: memory for the next flow

cdef struct Flow

cdef enum:
    URGENT_MARKS = 4

# Flows in the order in which they were added. A flow is on at most one such list.
cdef struct FlowList:
    Flow *first
    Flow *last

cdef extern from "<stdbool.h>":
    ctypedef bint truth "bool"  # one byte; a bint is an int

# What one guest has sent. Laid out for the cache, as Flow is: what each segment touches comes first.
cdef struct Side:
    truth open  # has sent something
    truth syn  # isn is set
    truth acked  # ack is set
    truth reset
    truth fin  # FIN sent, at `end` - 1
    truth unseen  # only an empty segment has shown that it reached `end`
    truth answered  # the SYN carried an acknowledgement, `irs`
    uint8_t wscale  # 255: not known
    uint8_t marked  # how many of `marks` are set
    uint16_t window  # unscaled, of the latest segment
    uint16_t raw  # of the latest segment that did not acknowledge less than the furthest
    Seq end  # one past the furthest position sent
    Seq ack  # the furthest acknowledgement sent
    Seq last_ack  # the latest acknowledgement
    Seq edge  # the right edge that it offered
    uint32_t longest  # at least the sequence length of any node on the sorted list
    Node *first  # what waits, in order of arrival (data, datagrams)
    Node *last
    Node *low  # bytes not agreed, in order of sequence numbers
    Node *high
    Node *pure_first  # what waits and carries no bytes: acknowledgements, resets
    Node *pure_last
    uint64_t bytes  # memory that waiting frames take
    Seq isn
    Seq irs
    uint32_t syn_options  # the options that must be equal, packed, of the SYN that counts (syn_forms.pxd)
    uint32_t tsval
    Seq[URGENT_MARKS] marks  # the latest urgent positions that it has announced (urgent.pxd)
    Seq refused  # the acknowledgement of its latest reset

cdef enum:
    FORMS = 6

# The options with which a guest has sent its SYN, in the order of its attempts (syn_forms.pxd).
cdef struct Form:
    uint32_t options  # options that must be equal, packed: compared as one word
    uint32_t others  # a digest of the options that are not known here

cdef struct Forms:
    uint32_t count
    Form[FORMS] form

cdef enum:
    TRIES = 4

# One of a guest's SYN/ACKs.
cdef struct Try:
    Seq isn
    uint32_t tsval
    truth named  # a client's acknowledgement of it has reached the guest, as far as is known

# The ISNs of a guest's latest SYN/ACKs; empty where there is only one, that of its side.
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
    # What a segment in order touches: five more cache lines.
    int64_t used  # time of last use, to a tenth of a second
    Flow *newer  # the next incarnation
    Node *owed
    # how far both have sent the same: for a stream the offset of `matched`, else bytes of datagrams
    int64_t position
    Seq low
    Seq matched
    Seq told_ack
    Seq told_edge
    uint32_t told_stamp  # the newest TSval that was released
    uint32_t told_echo  # and the TSecr that came with it
    uint32_t offset  # isn_svm - isn_pvm
    uint32_t waiting  # waiting nodes of both sides
    uint32_t below  # PVM segments that wait and lie below `low`
    Seq pieced  # inside the agreed range: how far a held super-frame was released in pieces (T13)
    Side pvm
    Side svm
    # What few packets touch.
    Flow *idle_prev  # in the order of last use
    Flow *idle_next
    FlowList *list  # the list that it is on, or NULL
    Flow *list_prev
    Flow *list_next
    Flow *commit_next
    Flow *target  # for an alias: its flow
    Flow *alias
    int64_t watched_since
    int64_t named_at  # when the SVM, before it sent anything after its SYN, last received an acknowledgement
    uint64_t told_order  # of the segment that carried the edge
    Seq floor  # the PVM's position at the last commit: everything below is in the SVM's state
    Forms pvm_forms
    Forms svm_forms
    Tries pvm_tries
    Tries svm_tries
    uint64_t pvm_text  # a keyed digest of the text in its latest reset, 0: none
    uint64_t svm_text
    uint32_t ts_offset
    uint16_t svm_port
    uint16_t meant  # where only the SVM has opened it: the PVM's port that the SVM's was paired with before
    uint16_t heard_window  # unscaled, of the client's segment with heard_ack
    Seq heard_ack  # the furthest that clients have acknowledged, while observing
    uint32_t divergences
    uint32_t kept
    int64_t acknowledged  # a stream offset: how far clients have acknowledged
    Trail trail  # digests of what is agreed and not acknowledged
    uint32_t again_stamp  # the newest TSval of a retransmission of either guest, by the PVM's clock
    uint32_t told_again  # duplicates of told_ack that were released (duplicate.pxd)
    uint32_t svm_again  # and duplicates that the SVM has sent of its own acknowledgement
    Node *beyond  # its data are the ranges beyond `matched` (ranges.pxd), if F_BEYOND
    # datagrams
    uint64_t said_bytes  # bytes of payload that the PVM has sent

cdef struct Slab:
    Slab *next
    size_t used  # bytes in use, with this header
    size_t size
    uint32_t first  # the place number of its first flow

cdef struct Table:
    Flow **buckets
    uint64_t size  # a power of two
    uint64_t count
    uint64_t aliases  # number of aliases
    uint64_t seed
    Flow *idle_first  # idle for longest
    Flow *idle_last
    Flow *spare
    Slab *slabs  # where the flows lie; they stay until the table is closed
    Flow *recent  # the flow found last, no alias: the next packet often belongs to it too
    uint64_t changes  # count of flows added and removed, ever

# What a later search is likely to find.
cdef struct Guess:
    uint32_t hash
    Flow *flow
    uint64_t changes  # the table's count when this was looked up

# An alias is not a flow of its own. A flow of the SVM that is alone is stored among the aliases, and is one.
cdef inline bint flow_is_alias(const Flow *flow) noexcept nogil:
    return flow.flags & (F_ALIAS | F_ALONE) == F_ALIAS

cdef inline bint flow_has_own_numbers(const Flow *flow) noexcept nogil:
    """Whether the SVM uses other numbers for a connection than the PVM, or another port."""
    return flow.offset != 0 or flow.ts_offset != 0 or flow.flags & F_OTHER_PORT != 0

cdef inline Flow *flow_next(Flow *flow) noexcept nogil:
    """The next flow in idle order that is not an alias: an alias is removed together with its flow."""
    flow = flow.idle_next
    while flow != NULL and flow_is_alias(flow):
        flow = flow.idle_next
    return flow
