"""What each word of a checkpoint does to the frames that wait (docs/comparison.md, section 6).

    COMPARE --SVM_STOP--> the SVM's new output goes to limbo, the PVM's is held unjudged
            --PVM_STOP--> the PVM's new output goes to limbo too
            --COMMIT----> what is held is released, every flow is updated, limbo is judged
    any     --HOLD, ABORT--> the PVM's output is held, the SVM's dropped, until a COMMIT
            --UNPROTECT--> what is held is released; the PVM's output passes
            --FAILOVER---> what only the PVM has sent is dropped; the SVM's output passes, aligned
"""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core

cdef void epoch_hold(Core *core) noexcept nogil
cdef void epoch_unprotect(Core *core) noexcept nogil
cdef void epoch_svm_stop(Core *core) noexcept nogil
cdef void epoch_svm_loaded(Core *core) noexcept nogil
# The SVM has been running again since `before`: what was received from it earlier belongs to the old epoch.
cdef void epoch_drop_stragglers(Core *core, int64_t before) noexcept nogil
cdef void epoch_pvm_stop(Core *core) noexcept nogil
cdef void epoch_commit(Core *core) noexcept nogil
cdef void epoch_failover(Core *core) noexcept nogil
# While observing: continue after a divergence as if a checkpoint had been made (C8).
cdef void epoch_follow_observed(Core *core) noexcept nogil
# Discard everything that is held, before the core itself is freed.
cdef void epoch_clear(Core *core) noexcept nogil
