"""The aligner: rewriting that lets the SVM live on the PVM's TCP connections (RFC 9293, 7323, 2018)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from colo_proxy.core.packet.key cimport Key
from colo_proxy.core.packet.parse cimport Packet

cdef struct Offset:
    uint32_t seq  # isn_svm - isn_pvm, modulo 2**32
    uint32_t ts  # tsval_svm - tsval_pvm, modulo 2**32
    uint16_t svm_port  # the guest's own port, as each guest chose it
    uint16_t pvm_port

# A client's TCP segment, for the SVM: acknowledgement, SACK blocks, TSecr, destination port; of UDP the port.
cdef void aligner_to_svm(Packet *p, uint8_t *base, const Offset *offset) noexcept nogil
# A TCP segment of the SVM, for clients: sequence number, TSval, source port; of UDP the port.
cdef void aligner_from_svm(Packet *p, uint8_t *base, const Offset *offset) noexcept nogil
# A SYN of either guest: what offers or accepts Multipath TCP becomes padding, and the connection a plain one.
cdef void aligner_strip_multipath(Packet *p, uint8_t *base) noexcept nogil
# The port at `at` of a UDP datagram, or of its first fragment, and its checksum, where it is the old one.
cdef void aligner_move_udp_port(Packet *p, uint8_t *base, uint32_t at, uint16_t old,
                                uint16_t new) noexcept nogil
# Whether the frame is an ICMP or ICMPv6 error that quotes TCP or UDP: from outside what the VM sent, from the
# VM (`from_vm`) what a client did. `key` becomes the flow of what is quoted, with the port that it names.
cdef bint aligner_quoted_flow(Key *key, const Packet *p, const uint8_t *base, bint from_vm) noexcept nogil
# Such an error, for the SVM or from it: the quote comes to be as the other side of the aligner has it.
cdef void aligner_fix_quote(Packet *p, uint8_t *base, const Offset *offset, bint from_vm) noexcept nogil
