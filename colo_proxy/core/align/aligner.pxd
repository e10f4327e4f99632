"""The aligner: rewriting that lets the SVM take part in the PVM's TCP connections (RFC 9293, 7323, 2018)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from colo_proxy.core.packet.key cimport Key
from colo_proxy.core.packet.parse cimport Packet

cdef struct Offset:
    uint32_t seq  # isn_svm - isn_pvm, modulo 2**32
    uint32_t ts  # tsval_svm - tsval_pvm, modulo 2**32
    uint16_t svm_port  # the guest's own port, as each guest chose it
    uint16_t pvm_port

# Rewrite a client's TCP segment for the SVM: acknowledgement, SACK blocks, TSecr, destination port; of UDP
# the port.
cdef void aligner_to_svm(Packet *p, uint8_t *base, const Offset *offset) noexcept nogil
# Rewrite a TCP segment of the SVM for clients: sequence number, TSval, source port; of UDP the port.
cdef void aligner_from_svm(Packet *p, uint8_t *base, const Offset *offset) noexcept nogil
# In a SYN of either guest, replace the option of Multipath TCP by padding; the connection becomes a plain
# one.
cdef void aligner_strip_multipath(Packet *p, uint8_t *base) noexcept nogil
# Rewrite the port at `at` of a UDP datagram, or of its first fragment, if it is the old one; and its
# checksum.
cdef void aligner_move_udp_port(Packet *p, uint8_t *base, uint32_t at, uint16_t old,
                                uint16_t new) noexcept nogil
# Whether the frame is an ICMP or ICMPv6 error that quotes TCP or UDP. Errors from outside quote what the VM
# sent; errors of the VM (`from_vm`) quote what a client sent. `key` becomes the quoted flow's, with the
# quoted port.
cdef bint aligner_quoted_flow(Key *key, const Packet *p, const uint8_t *base, bint from_vm) noexcept nogil
# Rewrite the quote in such an error, for the SVM or from it, as the quoted segment itself would be.
cdef void aligner_fix_quote(Packet *p, uint8_t *base, const Offset *offset, bint from_vm) noexcept nogil
