"""Lists of flows that wait to be examined again, in order of arrival. A flow is on at most one."""

from colo_proxy.core.flow.flow cimport Flow, FlowList

# Put a flow at the end of a list, unless it is there already; it is removed from any other list.
cdef void flow_list_add(FlowList *list, Flow *flow) noexcept nogil
# Remove a flow from the list that it is on, if any.
cdef void flow_list_leave(Flow *flow) noexcept nogil
