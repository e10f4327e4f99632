"""What a new list of policies changes for existing flows (docs/comparison.md, C10)."""

from libc.stdint cimport uint64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.key cimport Key
from colo_proxy.core.policy cimport P_BYPASS, P_COMPARE, P_DEFAULT, Action, Policies, policy_match

# Compare, bypass or drop; `frames` as for policy_match.
cdef inline Action rules_decide(Policies *policies, const Key *key, bint housekeeping,
                                uint64_t frames) noexcept nogil:
    cdef Action action = policy_match(policies, key, frames)
    if action == P_DEFAULT:
        return P_BYPASS if housekeeping else P_COMPARE
    return action

# Apply these rules from now on (NULL: none). The last FORMER lists must outlive them.
cdef void rules_replace(Core *core, Policies *policies) noexcept nogil
# Whether what the SVM sent may be a copy of what the PVM sent while its flow was not compared.
cdef bint rules_excuse(const Core *core, const Flow *flow, const Node *svm) noexcept nogil
# Forget those of a flow's datagrams of the SVM, from the first on.
cdef void rules_forget_copies(Core *core, Flow *flow) noexcept nogil
