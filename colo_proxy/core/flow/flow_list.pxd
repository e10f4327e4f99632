"""Lists of flows that wait to be looked at again, in order of arrival. A flow is on one at most."""

from colo_proxy.core.flow.flow cimport Flow, FlowList

# Put a flow on a list, unless it is there; from any other it goes away.
cdef void flow_list_add(FlowList *list, Flow *flow) noexcept nogil
# Take a flow off the list that it is on, if any.
cdef void flow_list_leave(Flow *flow) noexcept nogil
