/* The ceiling of a comparator alone: moves PRIMARY's bytes to OUT, reads SECONDARY's and drops them.
 *
 *     move PRIMARY SECONDARY OUT
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listening(const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(at.sun_path, path, sizeof(at.sun_path) - 1);
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv) {
    static uint8_t bytes[256 << 10];
    int fds[3];
    if (argc != 4) return fprintf(stderr, "move PRIMARY SECONDARY OUT\n"), 2;
    for (int at = 0; at < 3; at++) fds[at] = listening(argv[1 + at]);
    for (int at = 0; at < 3; at++) fds[at] = accept(fds[at], NULL, NULL);
    struct pollfd set[2] = {{.fd = fds[0], .events = POLLIN}, {.fd = fds[1], .events = POLLIN}};
    while (poll(set, 2, -1) > 0) {
        for (int at = 0; at < 2; at++) {
            if (!set[at].revents) continue;
            ssize_t got = read(fds[at], bytes, sizeof(bytes));
            if (got <= 0) return 0;
            for (ssize_t done = 0, sent; at == 0 && done < got; done += sent)
                if ((sent = write(fds[2], bytes + done, got - done)) < 0) return 1;
        }
    }
    return 0;
}
