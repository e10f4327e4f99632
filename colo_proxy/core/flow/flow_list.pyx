"""Lists of flows that wait to be examined again, in order of arrival. A flow is on at most one."""

from colo_proxy.core.flow.flow cimport Flow, FlowList


cdef void flow_list_add(FlowList *list, Flow *flow) noexcept nogil:
    if flow.list == list:
        return
    flow_list_leave(flow)
    flow.list = list
    flow.list_prev = list.last
    flow.list_next = NULL
    if list.last != NULL:
        list.last.list_next = flow
    else:
        list.first = flow
    list.last = flow


cdef void flow_list_leave(Flow *flow) noexcept nogil:
    cdef FlowList *list = flow.list
    if list == NULL:
        return
    flow.list = NULL
    if flow.list_prev != NULL:
        flow.list_prev.list_next = flow.list_next
    else:
        list.first = flow.list_next
    if flow.list_next != NULL:
        flow.list_next.list_prev = flow.list_prev
    else:
        list.last = flow.list_prev
