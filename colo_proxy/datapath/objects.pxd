"""C records of the data path as the Python objects of colo_proxy.words."""

from colo_proxy.datapath.core cimport Diverged
from colo_proxy.datapath.entry cimport FlowRecord

# Frees the record's copies of the packets.
cdef object divergence_object(Diverged *diverged, int nic)
cdef object flow_object(const FlowRecord *record, int nic)
