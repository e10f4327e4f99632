"""SYNs that are repeated with other options (T3b): some guests leave out options that a path may not support.

The PVM's k-th form is released when the SVM's k-th form is the same. The options of the connection are then
those of the latest form that both have sent: it is in `syn_options` and `wscale` of both sides.
"""

from libc.stdint cimport uint8_t, uint32_t

from colo_proxy.core.core cimport Core, core_diverge
from colo_proxy.core.flow.flow cimport FORMS, F_FORMS, Flow, Form, Forms, Side
from colo_proxy.core.flow.pool cimport N_SVM, Node
from colo_proxy.core.packet.parse cimport ACK, RST, SYN
from colo_proxy.core.packet.seq cimport seq_eq
from colo_proxy.core.vocabulary cimport R_CONTROL


cdef uint32_t syn_forms_options(const Node *node) noexcept nogil:
    return (<uint32_t>node.packet.mss << 16) | (<uint32_t>node.packet.wscale << 8) | \
        (<uint32_t>node.packet.sack_permitted << 1) | (node.packet.timestamps != 0)


cdef uint32_t place_of(const Forms *forms, const Node *node) noexcept nogil:
    """The index of the form that a SYN has among the side's; their count: none of them."""
    cdef uint32_t options = syn_forms_options(node)
    cdef uint32_t index = 0
    while index < forms.count:
        if forms.form[index].options == options and forms.form[index].others == node.packet.others:
            break
        index += 1
    return index


cdef bint alike(const Form *one, const Form *other) noexcept nogil:
    return one.options == other.options and one.others == other.others


cdef void syn_forms_note(Flow *flow, const Node *node) noexcept nogil:
    cdef bint svm = (node.flags & N_SVM) != 0
    cdef Side *side = &flow.svm if svm else &flow.pvm
    cdef Forms *forms = &flow.svm_forms if svm else &flow.pvm_forms
    if not side.syn or not seq_eq(side.isn, node.packet.seq) or place_of(forms, node) < forms.count:
        return
    if forms.count == FORMS or (forms.count and node.packet.flags & ACK):
        return
    forms.form[forms.count].options = syn_forms_options(node)
    forms.form[forms.count].others = node.packet.others
    forms.count += 1
    if forms.count > 1:
        flow.flags |= F_FORMS
    syn_forms_settle(flow)


cdef void syn_forms_settle(Flow *flow) noexcept nogil:
    cdef uint32_t both = min(flow.pvm_forms.count, flow.svm_forms.count)
    cdef const Form *form
    cdef uint8_t scale
    if not both or syn_forms_differ(flow):
        return
    form = &flow.pvm_forms.form[both - 1]
    scale = (form.options >> 8) & 0xff
    flow.pvm.wscale = flow.svm.wscale = 0 if scale == 255 else min(scale, 14)  # RFC 7323, 2.3
    flow.pvm.syn_options = flow.svm.syn_options = form.options


cdef bint syn_forms_differ(const Flow *flow) noexcept nogil:
    cdef uint32_t index
    for index in range(min(flow.pvm_forms.count, flow.svm_forms.count)):
        if not alike(&flow.pvm_forms.form[index], &flow.svm_forms.form[index]):
            return True
    return False


cdef bint syn_forms_known(const Flow *flow, const Node *node) noexcept nogil:
    if node.packet.flags & ACK:
        return syn_forms_options(node) == flow.pvm.syn_options
    return place_of(&flow.pvm_forms, node) < flow.pvm_forms.count


cdef bint syn_forms_agreed(const Flow *flow, const Node *node) noexcept nogil:
    cdef uint32_t index = place_of(&flow.pvm_forms, node)
    return index < flow.pvm_forms.count and index < flow.svm_forms.count and \
        alike(&flow.pvm_forms.form[index], &flow.svm_forms.form[index])


cdef void syn_forms_compare(Core *core, Flow *flow, const Node *node) noexcept nogil:
    cdef uint32_t pvm = flow.pvm_forms.count
    cdef uint32_t svm = flow.svm_forms.count
    cdef bint lacks
    if not pvm or not svm:
        return
    # A guest that acknowledges has received the answer to its SYN, and no longer repeats the SYN.
    lacks = (flow.pvm.acked and pvm < svm) or (flow.svm.acked and svm < pvm)
    if not lacks and (node.packet.flags & (SYN | RST) != SYN or not syn_forms_differ(flow)):
        return
    if node.flags & N_SVM:
        core_diverge(core, flow, R_CONTROL, 0, NULL, node)
    else:
        core_diverge(core, flow, R_CONTROL, 0, node, NULL)


cdef void syn_forms_answered(Core *core, Flow *flow) noexcept nogil:
    cdef uint32_t pvm = flow.pvm_forms.count
    cdef uint32_t svm = flow.svm_forms.count
    if pvm and svm and pvm != svm:
        core_diverge(core, flow, R_CONTROL, 0, NULL, NULL)


cdef void syn_forms_copy(Flow *flow) noexcept nogil:
    if flow.svm.syn:
        flow.svm_forms = flow.pvm_forms
        syn_forms_settle(flow)
