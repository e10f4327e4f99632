"""What a new list of policies changes for flows that live (docs/comparison.md, C10).

What waits on a flow that is compared no more goes as the new list says. Such a flow keeps only what maps the
SVM's numbers and port to the PVM's, so one that is compared again later is caught in mid-stream. What either
guest sent while it was not compared was not noted: the SVM's copies of what the PVM sent then may still come,
and are no sign that the PVM misses anything. So the last lists are remembered, with when each was replaced.
"""

from libc.stdint cimport uint64_t

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.key cimport Key
from colo_proxy.datapath.policy cimport Action, Policies
from colo_proxy.datapath.pool cimport Node

# Compare, bypass or drop; `frames` as for policy_match.
cdef Action rules_decide(Policies *policies, const Key *key, bint housekeeping,
                         uint64_t frames) noexcept nogil
# Let these rules decide from now on (NULL: none). The last FORMER lists must outlive them.
cdef void rules_replace(Core *core, Policies *policies) noexcept nogil
# Whether what the SVM sent may be a copy of what the PVM sent while its flow was not compared.
cdef bint rules_excuse(const Core *core, const Flow *flow, const Node *svm) noexcept nogil
# Forget those of a flow's datagrams of the SVM, from the first on.
cdef void rules_forget_copies(Core *core, Flow *flow) noexcept nogil
