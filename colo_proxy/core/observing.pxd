"""While observing (C8), what clients say reaches the SVM at the SVM's own pace."""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.key cimport Key

# A client's TCP frame, not aligned yet: note what it acknowledges.
cdef void observing_note_client(Flow *flow, const Node *node) noexcept nogil
# The same, while observing: whether it waits for the SVM's SYN, and has been taken.
cdef bint observing_waits(Core *core, Flow *flow, Node *node) noexcept nogil
# The same, aligned: bring its acknowledgement down to what the SVM has said.
cdef void observing_clamp(const Flow *flow, Node *node) noexcept nogil
# An SVM segment that begins below what clients have acknowledged is answered with that (T15). While observing
# it may be any segment, and what waited for the SVM's SYN goes.
cdef void observing_answer(Core *core, Flow *flow, const Node *node) noexcept nogil
# Forget what waits.
cdef void observing_clear(Core *core) noexcept nogil
