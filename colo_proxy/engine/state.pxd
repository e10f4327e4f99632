"""What the data path's thread owns (the loop, its NICs and ports), and what crosses to the control plane."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from colo_proxy.core.core cimport Core, Diverged
from colo_proxy.core.flow.pool cimport Pool
from colo_proxy.engine.ports.port cimport Batch, Frame, Port
from colo_proxy.engine.ring cimport Ring

cdef enum:
    PORTS = 3
    # A port with one socket to read and one to write has a second attachment, at PORTS plus its number.
    SIDES = 6
    OUTGOING = 256  # frames handed to a port at once, four batches at most

cdef enum CommandKind:
    C_WORD = 0  # code: a Word of the comparator
    C_ATTACH = 1  # code: nic * SIDES + attachment
    C_CALL = 2  # `call` with each NIC's core and `argument`

ctypedef void (*Call)(Core *core, uint32_t nic, void *argument) noexcept nogil

cdef struct Command:
    CommandKind kind
    uint32_t code
    int fd
    # When it happened, ns of CLOCK_REALTIME; 0: now. For SVM_STOP and PVM_STOP: the guest has stopped. For
    # SVM_LOADED and COMMIT: it runs again.
    int64_t stamp
    uint64_t ticket
    Call call
    void *argument

cdef enum EventKind:
    E_DONE = 0
    E_DIVERGED = 1
    E_EXHAUSTED = 2
    E_FAULT = 3

cdef struct Event:
    EventKind kind
    uint32_t nic
    int code  # the DropId of E_EXHAUSTED; the attachment of E_FAULT
    int error  # of E_FAULT: errno; 0: the port works again
    int64_t time
    Command command  # the one that is done
    bint late
    Diverged diverged

cdef struct Attachment:  # a port's place in the loop
    Port port
    bint ready  # may have something to read
    int polled  # the descriptor that epoll has, -1: none
    uint32_t interest  # and which events it watches for
    int fault  # errno, 0: none
    bint untold  # the fault, or its end, has not been reported yet
    bint quiet  # not reported: the connection was ended on purpose
    int64_t retry  # when to poll again
    uint32_t count
    Frame[<int>OUTGOING] outgoing  # gathered from what came out of the comparator, to be sent together

cdef struct Nic:
    Core *core
    Attachment[<int>SIDES] attachments
    int64_t deadline
    int64_t ticked  # when the comparator last checked its deadlines
    bint stirred  # something has happened since
    int64_t old_until  # when the latest frame that the PVM sent before its stop was received, CLOCK_REALTIME
    int64_t shut_since  # since when a guest that outruns the other is not read; 0: all are read
    uint32_t exhausted  # bits still to be reported

cdef struct Loop:
    uint64_t beat
    uint64_t stopping
    int epoll
    int64_t now
    int64_t last_event  # when a wait last ended with an event
    int64_t unshared  # until then the thread does not poll: another process needed the processor
    int64_t housekeeping
    uint32_t count
    Nic *nics
    Pool *pool
    Batch *batch
    Ring commands
    Ring events
