/* The ceiling of a proxy for two replicas on one machine: mirrors, aligns and forwards, and compares nothing.
 *
 *     forward UPLINK PRIMARY SECONDARY
 *
 * Three interfaces of this namespace, by packet sockets with the virtio-net header, 64 frames a system call.
 * What the uplink says goes to PRIMARY and, with acknowledgements, SACK blocks and echoed timestamps moved into
 * its own numbers, to SECONDARY. What PRIMARY says goes to the uplink at once. What SECONDARY says is dropped.
 * SECONDARY is never told that a client has what it has not said yet: it would ignore that (RFC 9293, 3.10.7.4)
 * and say nothing more, and this would be the ceiling for one replica.
 * IPv4 without options only, one connection at a time on a client's port: enough for a benchmark.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

enum { BATCH = 64, VNET = 10, SLOT = 69824, IP = VNET + 14, TCP = IP + 20, BUFFER = 8 << 20, FORCE = 32 };

static struct side { uint32_t isn, clock, end; } sides[2][65536]; /* PRIMARY's and SECONDARY's, by client's port */
static uint8_t *arena;
static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];

static int opened(const char *name) {
    int on = 1, size = BUFFER, fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    at.sll_ifindex = if_nametoindex(name);
    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on));
    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, FORCE, &size, sizeof(size));     /* SO_SNDBUFFORCE */
    setsockopt(fd, SOL_SOCKET, FORCE + 1, &size, sizeof(size)); /* SO_RCVBUFFORCE */
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
        perror(name);
        exit(1);
    }
    return fd;
}

static uint32_t get32(const uint8_t *at) { return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]; }

static void add32(uint8_t *frame, uint8_t *at, uint32_t count) {
    uint32_t old = get32(at), value = old + count, sum;
    uint8_t *check = frame + TCP + 16;
    at[0] = value >> 24, at[1] = value >> 16, at[2] = value >> 8, at[3] = value;
    if (frame[0] & 1) return; /* the checksum is still to be made */
    sum = (uint16_t)~(check[0] << 8 | check[1]);
    sum += (uint16_t)~(old >> 16) + (uint16_t)~old + (value >> 16) + (value & 0xffff);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~(sum + (sum >> 16));
    check[0] = sum >> 8, check[1] = sum;
}

static int is_tcp(const uint8_t *frame, int size) {
    return size >= TCP + 20 && frame[VNET + 12] == 8 && !frame[VNET + 13] && frame[IP] == 0x45 && frame[IP + 9] == 6;
}

/* The timestamps option's value, or NULL. With `move`, SACK blocks are moved on the way. */
static uint8_t *options(uint8_t *frame, int size, uint32_t move) {
    uint8_t *at = frame + TCP + 20, *end = frame + TCP + (frame[TCP + 12] >> 4) * 4, *stamps = NULL;
    if (end > frame + size) return NULL;
    while (at < end && *at) {
        if (*at == 1) {
            at++;
            continue;
        }
        if (at + 2 > end || at[1] < 2 || at + at[1] > end) break;
        if (*at == 8 && at[1] == 10) stamps = at + 2;
        for (int edge = 2; *at == 5 && move && edge + 4 <= at[1]; edge += 4) add32(frame, at + edge, move);
        at += at[1];
    }
    return stamps;
}

static void learn(uint8_t *frame, int size, struct side *of) {
    if (!is_tcp(frame, size)) return;
    struct side *side = &of[frame[TCP + 2] << 8 | frame[TCP + 3]];
    int syn = frame[TCP + 13] >> 1 & 1, fin = frame[TCP + 13] & 1;
    uint32_t seq = get32(frame + TCP + 4);
    uint32_t end = seq + (frame[IP + 2] << 8 | frame[IP + 3]) - 20 - (frame[TCP + 12] >> 4) * 4 + syn + fin;
    if (syn || (int32_t)(end - side->end) > 0) side->end = end;
    if (!syn) return;
    uint8_t *stamps = options(frame, size, 0);
    side->isn = seq;
    side->clock = stamps ? get32(stamps) : 0;
}

static void align(uint8_t *frame, int size) {
    if (!is_tcp(frame, size) || !(frame[TCP + 13] & 16)) return;
    uint16_t port = frame[TCP] << 8 | frame[TCP + 1];
    uint32_t move = sides[1][port].isn - sides[0][port].isn;
    uint32_t ahead = get32(frame + TCP + 8) + move - sides[1][port].end;
    uint8_t *stamps = options(frame, size, move);
    add32(frame, frame + TCP + 8, (int32_t)ahead > 0 ? move - ahead : move);
    if (stamps) add32(frame, stamps + 4, sides[1][port].clock - sides[0][port].clock);
}

static void forward(int fd, int count) {
    for (int done = 0; done < count;) {
        int sent = sendmmsg(fd, messages + done, count - done, 0);
        if (sent > 0) done += sent;
        else if (errno == EAGAIN || errno == ENOBUFS) poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1);
        else done++;
    }
}

int main(int argc, char **argv) {
    struct pollfd set[3];
    if (argc != 4) return fprintf(stderr, "forward UPLINK PRIMARY SECONDARY\n"), 2;
    arena = malloc((size_t)BATCH * SLOT);
    for (int at = 0; at < 3; at++) set[at] = (struct pollfd){.fd = opened(argv[1 + at]), .events = POLLIN};
    for (int at = 0; at < BATCH; at++)
        messages[at].msg_hdr = (struct msghdr){.msg_iov = &parts[at], .msg_iovlen = 1};
    puts("ready");
    fflush(stdout);
    while (poll(set, 3, -1) > 0) {
        for (int which = 0; which < 3; which++) {
            if (!set[which].revents) continue;
            for (int round = 0; round < 4; round++) {
                for (int at = 0; at < BATCH; at++) parts[at] = (struct iovec){arena + (size_t)at * SLOT, SLOT};
                int got = recvmmsg(set[which].fd, messages, BATCH, MSG_DONTWAIT, NULL);
                if (got <= 0) break;
                for (int at = 0; at < got; at++) parts[at].iov_len = messages[at].msg_len;
                for (int at = 0; which && at < got; at++)
                    learn(parts[at].iov_base, parts[at].iov_len, sides[which - 1]);
                if (which == 0) {
                    forward(set[1].fd, got);
                    for (int at = 0; at < got; at++) align(parts[at].iov_base, parts[at].iov_len);
                    forward(set[2].fd, got);
                } else if (which == 1) {
                    forward(set[0].fd, got);
                }
                if (got < BATCH) break;
            }
        }
    }
    return 0;
}
