"""The parts of Linux's socket interface that Cython's own declarations leave out."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <limits.h>
    #include <linux/if_packet.h>
    #include <linux/if_tun.h>
    #include <net/if.h>
    #include <poll.h>
    #include <sched.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/ioctl.h>
    #include <sys/socket.h>
    #include <sys/uio.h>
    #include <time.h>
    #include <unistd.h>
    #ifndef PACKET_IGNORE_OUTGOING
    #define PACKET_IGNORE_OUTGOING 23
    #endif
    """
    ctypedef unsigned int socklen_t

    struct timespec:
        long tv_sec
        long tv_nsec

    struct iovec:
        void *iov_base
        size_t iov_len

    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags

    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type

    struct sockaddr:
        pass

    struct sockaddr_ll:
        int sll_ifindex

    struct tpacket_auxdata:
        uint32_t tp_status
        uint16_t tp_vlan_tci
        uint16_t tp_vlan_tpid

    struct tpacket_stats:
        unsigned int tp_packets
        unsigned int tp_drops

    struct pollfd:
        int fd
        short events
        short revents

    ctypedef union epoll_data_t:
        uint64_t u64

    struct epoll_event:
        uint32_t events
        epoll_data_t data

    struct ifreq:
        short ifr_flags

    const int SOL_SOCKET, SOL_PACKET, SO_TIMESTAMPNS, SCM_TIMESTAMPNS, SO_DOMAIN, SO_TYPE
    const int AF_PACKET, SOCK_RAW, SOCK_STREAM, SHUT_RDWR
    const int PACKET_VNET_HDR, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING, PACKET_STATISTICS
    const uint32_t TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID
    const int MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC
    const unsigned long TUNGETIFF, TUNGETVNETHDRSZ
    const int IFF_TAP, IFF_NO_PI, IFF_VNET_HDR
    const short POLLOUT
    const uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP
    const int EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC
    const int EFD_CLOEXEC, EFD_NONBLOCK
    const int CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME

    cmsghdr *CMSG_FIRSTHDR(msghdr *message) nogil
    cmsghdr *CMSG_NXTHDR(msghdr *message, cmsghdr *part) nogil
    uint8_t *CMSG_DATA(cmsghdr *part) nogil
    ssize_t recv(int fd, void *into, size_t size, int flags) nogil
    ssize_t send(int fd, const void *data, size_t size, int flags) nogil
    ssize_t sendmsg(int fd, const msghdr *message, int flags) nogil
    ssize_t recvmsg(int fd, msghdr *message, int flags) nogil
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, timespec *timeout) nogil
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags) nogil
    int getsockopt(int fd, int level, int option, void *value, socklen_t *size) nogil
    int getsockname(int fd, sockaddr *address, socklen_t *size) nogil
    int shutdown(int fd, int how) nogil
    int ioctl(int fd, unsigned long request, void *argument) nogil
    int fcntl(int fd, int command, ...) nogil
    ssize_t read(int fd, void *into, size_t size) nogil
    ssize_t write(int fd, const void *data, size_t size) nogil
    int sched_yield() nogil
    int poll(pollfd *which, unsigned long count, int milliseconds) nogil
    int nanosleep(const timespec *length, timespec *left) nogil
    int clock_gettime(int clock, timespec *into) nogil
    int epoll_create1(int flags) nogil
    int epoll_ctl(int fd, int operation, int which, epoll_event *event) nogil
    int epoll_wait(int fd, epoll_event *into, int room, int milliseconds) nogil
    int eventfd(unsigned int initial, int flags) nogil
