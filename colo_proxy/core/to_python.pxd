"""C records of the data path as the Python objects of colo_proxy.vocabulary."""

from colo_proxy.core.core cimport Diverged
from colo_proxy.core.nic cimport FlowRecord

# Frees the record's copies of the packets.
cdef object to_python_divergence(Diverged *diverged, int nic)
cdef object to_python_flow(const FlowRecord *record, int nic)
