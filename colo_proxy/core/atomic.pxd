"""Words of 64 bits that two threads share. Each is read and written whole (C11, 5.1.2.4)."""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t colo_load_acquire(const uint64_t *at) {
        return __atomic_load_n(at, __ATOMIC_ACQUIRE);
    }
    static inline uint64_t colo_load(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
    static inline void colo_store_release(uint64_t *at, uint64_t value) {
        __atomic_store_n(at, value, __ATOMIC_RELEASE);
    }
    static inline void colo_store(uint64_t *at, uint64_t value) {
        __atomic_store_n(at, value, __ATOMIC_RELAXED);
    }
    static inline uint64_t colo_exchange(uint64_t *at, uint64_t value) {
        return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);
    }
    """
    uint64_t atomic_load_acquire "colo_load_acquire"(const uint64_t *at) nogil
    uint64_t atomic_load "colo_load"(const uint64_t *at) nogil
    void atomic_store_release "colo_store_release"(uint64_t *at, uint64_t value) nogil
    void atomic_store "colo_store"(uint64_t *at, uint64_t value) nogil
    uint64_t atomic_exchange "colo_exchange"(uint64_t *at, uint64_t value) nogil
