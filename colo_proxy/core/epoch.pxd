"""The checkpoint's words (docs/comparison.md, section 6): what they do to what waits.

    COMPARE --SVM_STOP--> the SVM's new words go to limbo, the PVM's are held unjudged
            --PVM_STOP--> the PVM's new words go to limbo too
            --COMMIT----> what is held leaves, every flow is brought up to date, limbo is judged
    any     --HOLD, ABORT--> PVM held, SVM dropped, until a COMMIT
            --UNPROTECT--> what is held leaves; the PVM's output passes
            --FAILOVER---> what the PVM said and the SVM did not is dropped; the SVM's output passes, aligned
"""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core

cdef void epoch_hold(Core *core) noexcept nogil
cdef void epoch_unprotect(Core *core) noexcept nogil
cdef void epoch_svm_stop(Core *core) noexcept nogil
cdef void epoch_svm_loaded(Core *core) noexcept nogil
# The SVM runs again since `before`: what it said, and was received earlier, is of the epoch that is over.
cdef void epoch_drop_stragglers(Core *core, int64_t before) noexcept nogil
cdef void epoch_pvm_stop(Core *core) noexcept nogil
cdef void epoch_commit(Core *core) noexcept nogil
cdef void epoch_failover(Core *core) noexcept nogil
# While observing: go on after a divergence as if a checkpoint had been made (C8).
cdef void epoch_follow_observed(Core *core) noexcept nogil
# Forget everything that is held, for the end of the core itself.
cdef void epoch_clear(Core *core) noexcept nogil
