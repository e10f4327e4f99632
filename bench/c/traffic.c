/* Traffic for the live measurements. TCP and UDP on one port; a server says the same bytes wherever it runs.
 *
 *     traffic serve PORT                                  prints "ready"
 *     traffic stream HOST PORT CONNECTIONS BYTES          hears BYTES in all, prints bytes a second
 *     traffic udp HOST PORT SIZE WINDOW SECONDS           prints echoes a second, and datagrams lost
 *     traffic pace HOST PORT PAUSE_US SECONDS             echoes of 64 bytes, one each PAUSE_US
 *     traffic rtt tcp|udp HOST PORT PAUSE_US SECONDS      prints round trips of 64 bytes, ns, one a line
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 18, FILES = 4096, BATCH = 64, SMALL = 64, MOST = 2048, PATIENCE_MS = 200 };

static uint8_t block[2 * BLOCK];
static uint32_t said[FILES];
static uint64_t left[FILES];

static void die(const char *what) { perror(what); exit(1); }

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static struct sockaddr_in address(const char *host, const char *port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    inet_pton(AF_INET, host, &to.sin_addr);
    return to;
}

static void echo(int fd) { /* what has come by UDP */
    static uint8_t bytes[BATCH][MOST];
    static struct sockaddr_in from[BATCH];
    struct mmsghdr all[BATCH];
    struct iovec parts[BATCH];
    for (int at = 0; at < BATCH; at++) {
        parts[at] = (struct iovec){bytes[at], MOST};
        all[at].msg_hdr = (struct msghdr){&from[at], sizeof(from[at]), &parts[at], 1, NULL, 0, 0};
    }
    int got = recvmmsg(fd, all, BATCH, MSG_DONTWAIT, NULL);
    for (int at = 0; at < got; at++) parts[at].iov_len = all[at].msg_len;
    for (int done = 0, sent; done < got; done += sent)
        if ((sent = sendmmsg(fd, all + done, got - done, 0)) <= 0) return;
}

static void serve(const char *port) {
    struct sockaddr_in at = address("0.0.0.0", port);
    struct epoll_event event, ready[64];
    uint8_t asked[MOST];
    int on = 1, buffer = 4 << 20, poller = epoll_create1(0);
    int door = socket(AF_INET, SOCK_STREAM, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    for (uint32_t byte = 0; byte < sizeof(block); byte++) block[byte] = (byte % BLOCK) * 2654435761u >> 24;
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(datagrams, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
    if (bind(door, (void *)&at, sizeof(at)) || listen(door, 256) || bind(datagrams, (void *)&at, sizeof(at))) die("bind");
    event = (struct epoll_event){EPOLLIN, {.fd = door}};
    epoll_ctl(poller, EPOLL_CTL_ADD, door, &event);
    event = (struct epoll_event){EPOLLIN, {.fd = datagrams}};
    epoll_ctl(poller, EPOLL_CTL_ADD, datagrams, &event);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int got = epoll_wait(poller, ready, 64, -1);
        for (int index = 0; index < got; index++) {
            int fd = ready[index].data.fd;
            ssize_t count;
            if (fd == datagrams) {
                echo(fd);
                continue;
            }
            if (fd == door) {
                if ((fd = accept4(door, NULL, NULL, SOCK_NONBLOCK)) < 0) continue;
                if (fd >= FILES) {
                    close(fd);
                    continue;
                }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                said[fd] = left[fd] = 0;
                event = (struct epoll_event){EPOLLIN, {.fd = fd}};
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            if (ready[index].events & (EPOLLHUP | EPOLLERR)) {
                close(fd);
                continue;
            }
            if (ready[index].events & EPOLLIN) {
                count = recv(fd, asked, sizeof(asked), 0);
                if (count == 0 || (count < 0 && errno != EAGAIN)) {
                    close(fd);
                    continue;
                }
                if (count == 1 + sizeof(left[fd]) && asked[0] == 'S') {
                    memcpy(&left[fd], asked + 1, sizeof(left[fd]));
                    event = (struct epoll_event){EPOLLIN | EPOLLOUT, {.fd = fd}};
                    epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
                } else if (count > 0) {
                    count = send(fd, asked, count, MSG_NOSIGNAL);
                }
            }
            if (!left[fd]) continue;
            count = send(fd, block + said[fd], left[fd] < BLOCK ? left[fd] : BLOCK, MSG_NOSIGNAL);
            if (count > 0) {
                said[fd] = (said[fd] + count) % BLOCK;
                if ((left[fd] -= count) == 0) {
                    shutdown(fd, SHUT_WR);
                    event = (struct epoll_event){EPOLLIN, {.fd = fd}};
                    epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
                }
            }
        }
    }
}

static int joined(const char *host, const char *port, int kind) {
    struct sockaddr_in to = address(host, port);
    int on = 1, fd = socket(AF_INET, kind, 0);
    if (connect(fd, (void *)&to, sizeof(to))) die("connect");
    if (kind == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static void stream(char **argv) {
    static uint8_t bytes[BLOCK];
    int count = atoi(argv[4]), poller = epoll_create1(0);
    uint64_t each = atoll(argv[5]) / count, heard = 0;
    struct epoll_event ready[64];
    uint8_t request[9] = "S";
    int64_t began = now();
    memcpy(request + 1, &each, sizeof(each));
    for (int at = 0; at < count; at++) {
        int fd = joined(argv[2], argv[3], SOCK_STREAM);
        struct epoll_event event = {EPOLLIN, {.fd = fd}};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        if (send(fd, request, sizeof(request), 0) != sizeof(request)) die("send");
    }
    for (int open = count; open;) {
        int got = epoll_wait(poller, ready, 64, 20000);
        if (got <= 0) die("nothing came");
        for (int at = 0; at < got; at++) {
            ssize_t more = recv(ready[at].data.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
            if (more < 0 && errno != EAGAIN) die("recv");
            if (more > 0) heard += more;
            if (more == 0) close(ready[at].data.fd), open--;
        }
    }
    if (heard != each * count) die("too little came");
    printf("%.0f\n", heard * 1e9 / (now() - began));
}

static void udp(char **argv) {
    static uint8_t bytes[BATCH][MOST];
    int fd = joined(argv[2], argv[3], SOCK_DGRAM), size = atoi(argv[4]), window = atoi(argv[5]);
    int buffer = 4 << 20;
    int64_t length = atof(argv[6]) * 1e9, began = now();
    uint64_t sent = 0, heard = 0, lost = 0, counted = 0, number = 0;
    struct mmsghdr all[BATCH];
    struct iovec parts[BATCH];
    memset(all, 0, sizeof(all));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
    for (int64_t at = began; at < began + 300000000 + length; at = now()) {
        while (sent - heard - lost < (uint64_t)window) {
            int count = window - (sent - heard - lost);
            if (count > BATCH) count = BATCH;
            for (int index = 0; index < count; index++) {
                number++;
                memcpy(bytes[index], &number, sizeof(number));
                parts[index] = (struct iovec){bytes[index], size};
                all[index].msg_hdr = (struct msghdr){.msg_iov = &parts[index], .msg_iovlen = 1};
            }
            if ((count = sendmmsg(fd, all, count, 0)) <= 0) die("sendmmsg");
            sent += count;
        }
        if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, PATIENCE_MS) == 0) {
            lost += sent - heard - lost;
            continue;
        }
        for (int index = 0; index < BATCH; index++) parts[index] = (struct iovec){bytes[index], MOST};
        for (int index = 0; index < BATCH; index++)
            all[index].msg_hdr = (struct msghdr){.msg_iov = &parts[index], .msg_iovlen = 1};
        int got = recvmmsg(fd, all, BATCH, MSG_DONTWAIT, NULL);
        if (got <= 0) continue;
        heard += got;
        if (at >= began + 300000000) counted += got;
    }
    printf("%.0f %llu\n", counted * 1e9 / length, (unsigned long long)lost);
}

static void pace(char **argv) {
    uint8_t bytes[SMALL] = {0};
    int fd = joined(argv[2], argv[3], SOCK_DGRAM);
    int64_t pause = atoll(argv[4]) * 1000, due = now(), end = due + atof(argv[5]) * 1e9;
    for (; due < end; due += pause) {
        struct timespec at = {due / 1000000000, due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        if (send(fd, bytes, SMALL, 0) != SMALL) die("send");
        while (recv(fd, bytes, SMALL, MSG_DONTWAIT) > 0) {}
    }
}

static void rtt(char **argv) {
    uint8_t bytes[SMALL] = "E";
    int kind = strcmp(argv[2], "tcp") ? SOCK_DGRAM : SOCK_STREAM, fd = joined(argv[3], argv[4], kind);
    int64_t pause = atoll(argv[5]) * 1000, end = now() + atof(argv[6]) * 1e9;
    for (uint32_t number = 0; now() < end; number++) {
        struct timespec nap = {0, pause};
        int64_t began = now();
        memcpy(bytes + 4, &number, sizeof(number));
        if (send(fd, bytes, SMALL, 0) != SMALL) die("send");
        for (int heard = 0; heard < SMALL;) {
            if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1000) == 0) {
                if (kind == SOCK_STREAM) continue;
                break; /* lost: it counts as the second that was waited */
            }
            int got = recv(fd, bytes, SMALL - heard, 0);
            if (got <= 0) die("recv");
            heard += got;
        }
        printf("%lld\n", (long long)(now() - began));
        nanosleep(&nap, NULL);
    }
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "serve")) serve(argv[2]);
    else if (argc == 6 && !strcmp(argv[1], "stream")) stream(argv);
    else if (argc == 7 && !strcmp(argv[1], "udp")) udp(argv);
    else if (argc == 6 && !strcmp(argv[1], "pace")) pace(argv);
    else if (argc == 7 && !strcmp(argv[1], "rtt")) rtt(argv);
    else return fprintf(stderr, "see the head of traffic.c\n"), 2;
    return 0;
}
