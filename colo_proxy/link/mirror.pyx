"""A ring of bytes between two threads, mapped twice.

One file in memory is mapped two times, one copy right behind the other. So the `size` bytes from any place
on are contiguous: a record lies whole wherever it begins, is encrypted from where it was written and
parsed where it was decrypted. As in engine/ring, the writer owns `tail`, the reader `head`, and there is
no lock. Pages that were never touched cost nothing.
"""

from libc cimport errno as c
from libc.stdint cimport uint64_t
from libc.string cimport memset
from posix.unistd cimport close, ftruncate

import os

cdef extern from *:
    """
    #include <sys/mman.h>
    """
    enum:
        MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, MFD_CLOEXEC, PROT_NONE, PROT_READ, PROT_WRITE
    void *MAP_FAILED
    void *mmap(void *at, size_t size, int prot, int flags, int fd, long offset) nogil
    int munmap(void *at, size_t size) nogil
    int memfd_create(const char *name, unsigned int flags) nogil


cdef int mirror_open(Mirror *ring, uint64_t size) except -1:
    """`size` is a power of two and a multiple of a page. Raises OSError."""
    cdef void *base
    cdef void *first
    cdef void *second
    cdef int error
    cdef int file = memfd_create(b"colo-proxy-link", MFD_CLOEXEC)
    memset(ring, 0, sizeof(Mirror))
    if file < 0:
        raise OSError(c.errno, f"memfd_create: {os.strerror(c.errno)}")
    base = MAP_FAILED
    first = MAP_FAILED
    second = MAP_FAILED
    if ftruncate(file, size) == 0:
        base = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if base != MAP_FAILED:
        first = mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0)
        second = mmap(<char *>base + size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0)
    error = c.errno
    close(file)
    if first == MAP_FAILED or second == MAP_FAILED:
        if base != MAP_FAILED:
            munmap(base, 2 * size)
        raise OSError(error, f"memory of the link: {os.strerror(error)}")
    ring.base = <unsigned char *>base
    ring.size = size
    return 0


cdef void mirror_close(Mirror *ring) noexcept nogil:
    if ring.base != NULL:
        munmap(ring.base, 2 * ring.size)
        ring.base = NULL
