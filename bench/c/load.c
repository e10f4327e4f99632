/* Feeds a comparator over UNIX sockets (QEMU net stream framing) and times it.
 *
 *     load PRIMARY SECONDARY OUT PID PAYLOAD FLOWS WARM PACKETS
 *
 * TCP segments of PAYLOAD bytes, round robin over FLOWS flows, the same to PRIMARY and SECONDARY, at most
 * WINDOW of them on the way. WARM packets of ten bytes for each flow first, untimed, then PACKETS. Prints one
 * line: seconds, packets that came out, CPU nanoseconds and resident kilobytes that process PID has used in that time and at its end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LENGTH = 4, HEADERS = 14 + 20 + 20, CHUNK = 64, CHUNK_BYTES = 256 << 10, WINDOW = 1024, IDLE_MS = 2000,
       WARM_BYTES = 10, FIRST = 1 << 20 };

static uint32_t payload, flows, frame, wire, chunk, first_seq;

struct lane {
    int fd;
    uint64_t built; /* packets */
    uint8_t *buffer;
    size_t first, end;
};

static void die(const char *what) { perror(what); exit(1); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int meet(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(to.sun_path, path, sizeof(to.sun_path) - 1);
    for (int left = 1000; connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0; left--) {
        if (!left) die(path);
        usleep(20000);
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void measure(uint32_t bytes) {
    payload = bytes, frame = HEADERS + bytes, wire = LENGTH + frame;
    chunk = CHUNK_BYTES / wire < CHUNK ? CHUNK_BYTES / wire : CHUNK;
}

static void prepare(struct lane *lane) {
    free(lane->buffer);
    *lane = (struct lane){.fd = lane->fd, .buffer = malloc((size_t)chunk * wire)};
    for (uint32_t at = 0; at < chunk; at++) {
        uint8_t *p = lane->buffer + (size_t)at * wire;
        uint32_t length = htonl(frame);
        memset(p, 0, wire);
        memcpy(p, &length, 4);
        memcpy(p + 4, "\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\x00\x45", 15);
        *(uint16_t *)(p + 20) = htons(frame - 14);
        p[26] = 64, p[27] = 6;
        memcpy(p + 30, "\xc0\x00\x02\x02", 4); /* 192.0.2.2 */
        memcpy(p + 38, "\x00\x50", 2);          /* port 80 */
        *(uint32_t *)(p + 46) = htonl(1);       /* acknowledgement */
        p[50] = 0x50, p[51] = 0x18, p[52] = 0x7f, p[53] = 0xff;
        for (uint32_t byte = 0; byte < payload; byte++) p[LENGTH + HEADERS + byte] = (uint8_t)(byte * 7 + 1);
    }
}

static void fill(struct lane *lane, uint64_t last) {
    uint32_t at = 0;
    for (; at < chunk && lane->built < last; at++, lane->built++) {
        uint8_t *p = lane->buffer + (size_t)at * wire;
        uint32_t flow = lane->built % flows, round = lane->built / flows;
        uint32_t sum = 0, address = htonl(0x0a000000 + (flow >> 14)), seq = htonl(first_seq + round * payload);
        uint16_t port = htons(1024 + (flow & 0x3fff));
        memcpy(p + 34, &address, 4);
        memcpy(p + 40, &port, 2);
        memcpy(p + 42, &seq, 4);
        p[28] = p[29] = 0;
        for (int word = 18; word < 38; word += 2) sum += p[word] << 8 | p[word + 1];
        sum = (sum & 0xffff) + (sum >> 16);
        sum = ~(sum + (sum >> 16));
        p[28] = sum >> 8, p[29] = sum;
    }
    lane->first = 0;
    lane->end = (size_t)at * wire;
}

static uint64_t cpu(const char *pid) {
    char path[512], text[128];
    uint64_t sum = 0;
    snprintf(path, sizeof(path), "/proc/%s/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        snprintf(path, sizeof(path), "/proc/%s/task/%s/schedstat", pid, task->d_name);
        FILE *file = fopen(path, "r");
        if (file && fgets(text, sizeof(text), file)) sum += strtoull(text, NULL, 10);
        if (file) fclose(file);
    }
    if (tasks) closedir(tasks);
    return sum;
}

static long resident(const char *pid) {
    char path[64];
    long pages = 0;
    snprintf(path, sizeof(path), "/proc/%s/statm", pid);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
        fclose(file);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Runs until `last` packets in all have come out, or nothing moves for IDLE_MS. Returns the bytes heard. */
static uint64_t run(struct lane *lanes, int out, uint64_t last) {
    uint64_t heard = 0;
    static uint8_t sink[1 << 20];
    while (heard < last * wire) {
        int moved = 0;
        struct pollfd set[3] = {{.fd = out, .events = POLLIN}};
        ssize_t got = recv(out, sink, sizeof(sink), 0);
        if (got > 0) heard += got, moved = 1;
        if (got == 0) return heard;
        for (int side = 0; side < 2; side++) {
            struct lane *lane = &lanes[side];
            set[side + 1] = (struct pollfd){.fd = -1};
            if (lane->first == lane->end && lane->built < last && lane->built < heard / wire + WINDOW &&
                (!side || lane->built < lanes[0].built))
                fill(lane, side ? lanes[0].built : last);
            if (lane->first == lane->end) continue;
            got = send(lane->fd, lane->buffer + lane->first, lane->end - lane->first, MSG_NOSIGNAL);
            if (got > 0) lane->first += got, moved = 1;
            else if (errno != EAGAIN) die("send");
            else set[side + 1] = (struct pollfd){.fd = lane->fd, .events = POLLOUT};
        }
        if (!moved && poll(set, 3, IDLE_MS) == 0) break;
    }
    return heard;
}

int main(int argc, char **argv) {
    if (argc != 9) return fprintf(stderr, "load PRIMARY SECONDARY OUT PID PAYLOAD FLOWS WARM PACKETS\n"), 2;
    struct lane lanes[2] = {{0}};
    uint64_t warm = atoll(argv[7]), packets = atoll(argv[8]);
    flows = atoi(argv[6]);
    int out = meet(argv[3]);
    for (int side = 0; side < 2; side++) lanes[side].fd = meet(argv[1 + side]);
    measure(WARM_BYTES);
    first_seq = FIRST - warm * WARM_BYTES;
    for (int side = 0; side < 2; side++) prepare(&lanes[side]);
    run(lanes, out, warm * flows);
    measure(atoi(argv[5]));
    first_seq = FIRST;
    for (int side = 0; side < 2; side++) prepare(&lanes[side]);
    double began = now();
    uint64_t used = cpu(argv[4]);
    uint64_t heard = run(lanes, out, packets);
    double ended = now();
    if (heard < packets * wire) ended -= IDLE_MS / 1000.0; /* some never came: that wait is not work */
    printf("%.6f %llu %llu %ld\n", ended - began, (unsigned long long)(heard / wire),
           (unsigned long long)(cpu(argv[4]) - used), resident(argv[4]));
    return 0;
}
