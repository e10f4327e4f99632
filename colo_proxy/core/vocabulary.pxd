"""The C counterparts of colo_proxy.vocabulary; the two are compared when the comparator is imported."""

# Times are in nanoseconds.
cdef enum:
    MICROSECOND = 1000
    MILLISECOND = 1000000

cdef enum PortId:
    UPLINK = 0
    PRIMARY = 1
    SECONDARY = 2

cdef enum ReasonId:
    R_PAYLOAD = 0
    R_CONTROL = 1
    R_MISSING_SECONDARY = 2
    R_MISSING_PRIMARY = 3

cdef enum DropId:
    D_MEMORY = 0
    D_FLOWS = 1
    D_POLICY = 2
    D_OLD_EPOCH = 3
    D_UNCOMMITTED = 4
    D_FRAGMENT = 5
    D_OVERSIZED = 6
    D_SEND = 7
    D_TRUNCATED = 8
    D_CLOSED = 9
    DROPS = 10

cdef enum ModeId:
    M_HOLD = 0
    M_PASS = 1
    M_COMPARE = 2
    M_FAILED_OVER = 3
