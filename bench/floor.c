/* The floor: the least that an iSCSI target can do, to see what the machine allows. Not a target: it believes all.
 *
 *   cc -O2 -o floor floor.c
 *   floor [--file PATH]        prints its port; ends when its standard input does
 *
 * Accepts any login without digests, answers every READ(10) with bytes of the right length and every WRITE(10) with
 * GOOD, at once; with --file by pread and pwrite. All PDUs that one recv brought are handled before one sendmsg.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BUFFER = 512 << 10, TASKS = 256, DATA = 1 << 20, BLOCK = 512, BURST = 262144, PIECES = 1000 };

struct task { uint32_t itt, expected, next; uint64_t offset; uint8_t *data; };

struct peer {
    int fd, full_feature, out_count, out_first, blocked;
    uint32_t have, stat_sn, exp_cmd_sn;
    uint8_t buffer[BUFFER];
    struct iovec out[4096];
    uint8_t headers[4096][48];
    int used;
    struct task tasks[TASKS];
};

static int file = -1;
static uint64_t blocks = 1 << 21;
static uint8_t zeros[DATA];

static void put32(uint8_t *p, uint32_t v) { v = htonl(v); memcpy(p, &v, 4); }
static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return ntohl(v); }

static uint8_t *answer(struct peer *p, int opcode, const uint8_t *bhs, const void *data, uint32_t n) {
    uint8_t *h = p->headers[p->used++ & 4095];
    memset(h, 0, 48);
    h[0] = opcode; h[1] = 0x80; h[5] = n >> 16; h[6] = n >> 8; h[7] = n;
    memcpy(h + 16, bhs + 16, 4);
    put32(h + 24, p->stat_sn);
    put32(h + 28, p->exp_cmd_sn);
    put32(h + 32, p->exp_cmd_sn + 127);
    p->out[p->out_first + p->out_count++] = (struct iovec){h, 48};
    if (n) p->out[p->out_first + p->out_count++] = (struct iovec){(void *)data, (n + 3) & ~3u};
    return h;
}

static void login(struct peer *p, const uint8_t *bhs) {
    static const char security[] = "AuthMethod=None\0TargetPortalGroupTag=1";
    static const char keys[] =
        "HeaderDigest=None\0DataDigest=None\0InitialR2T=No\0ImmediateData=Yes\0MaxRecvDataSegmentLength=262144\0"
        "MaxBurstLength=262144\0FirstBurstLength=262144\0MaxOutstandingR2T=1\0ErrorRecoveryLevel=0\0\0\0\0";
    int stage = bhs[1] >> 2 & 3;
    p->exp_cmd_sn = get32(bhs + 24);
    uint8_t *h = answer(p, 0x23, bhs, stage ? keys : security, stage ? sizeof keys - 4 : sizeof security);
    h[1] = bhs[1];
    memcpy(h + 8, bhs + 8, 6);
    h[15] = 1;
    p->stat_sn++;
    p->full_feature = stage == 1 && bhs[1] & 0x80;
}

static void ask(struct peer *p, struct task *task, const uint8_t *bhs) {
    uint32_t left = task->expected - task->next;
    uint8_t *h = answer(p, 0x31, bhs, NULL, 0);
    put32(h + 20, (uint32_t)(task - p->tasks));
    put32(h + 40, task->next);
    put32(h + 44, left < BURST ? left : BURST);
}

static void store(const uint8_t *data, uint32_t n, uint64_t offset) {
    if (file >= 0 && pwrite(file, data, n, (off_t)offset) != (ssize_t)n) perror("pwrite");
}

static void command(struct peer *p, const uint8_t *bhs, const uint8_t *data, uint32_t n) {
    uint32_t expected = get32(bhs + 20);
    uint64_t offset = (uint64_t)get32(bhs + 34) * BLOCK;
    struct task *task = &p->tasks[get32(bhs + 16) % TASKS];
    p->exp_cmd_sn = get32(bhs + 24) + 1;
    if (bhs[32] == 0x28) {
        const uint8_t *from = zeros;
        if (file >= 0) {
            if (!task->data) task->data = malloc(DATA);
            if (pread(file, task->data, expected, (off_t)offset) != (ssize_t)expected) perror("pread");
            from = task->data;
        }
        for (uint32_t at = 0; at < expected; at += BURST) {
            uint32_t piece = expected - at < BURST ? expected - at : BURST;
            uint8_t *h = answer(p, 0x25, bhs, from + at, piece);
            put32(h + 36, at / BURST);
            put32(h + 40, at);
            if (at + piece == expected) { h[1] = 0x81; p->stat_sn++; }
        }
        return;
    }
    if (bhs[32] == 0x2a && n < expected) {
        if (!task->data) task->data = malloc(DATA);
        task->itt = get32(bhs + 16); task->expected = expected; task->offset = offset; task->next = n;
        memcpy(task->data, data, n);
        ask(p, task, bhs);
        return;
    }
    if (bhs[32] == 0x2a) store(data, n, offset);
    if (bhs[32] == 0x9e) {
        static uint8_t capacity[32];
        put32(capacity + 4, (uint32_t)(blocks - 1));
        put32(capacity + 8, BLOCK);
        answer(p, 0x25, bhs, capacity, 32)[1] = 0x81;
    } else
        answer(p, 0x21, bhs, NULL, 0);
    p->stat_sn++;
}

static void data_out(struct peer *p, const uint8_t *bhs, const uint8_t *data, uint32_t n) {
    struct task *task = &p->tasks[get32(bhs + 20) % TASKS];
    uint32_t offset = get32(bhs + 40);
    if (offset + n > DATA) return;
    memcpy(task->data + offset, data, n);
    task->next = offset + n;
    if (!(bhs[1] & 0x80)) return;
    if (task->next < task->expected) { ask(p, task, bhs); return; }
    store(task->data, task->expected, task->offset);
    answer(p, 0x21, bhs, NULL, 0);
    p->stat_sn++;
}

static int flush_out(struct peer *p, int epoll) {
    while (p->out_count) {
        struct msghdr m = {.msg_iov = p->out + p->out_first, .msg_iovlen = p->out_count < PIECES ? p->out_count : PIECES};
        ssize_t k = sendmsg(p->fd, &m, MSG_NOSIGNAL);
        if (k < 0 && errno != EAGAIN) return -1;
        if (k < 0) break;
        while (k > 0) {
            struct iovec *v = p->out + p->out_first;
            if ((size_t)k < v->iov_len) { v->iov_base = (uint8_t *)v->iov_base + k; v->iov_len -= k; break; }
            k -= v->iov_len;
            p->out_first++;
            p->out_count--;
        }
    }
    if (!p->out_count) p->out_first = 0;
    if (p->blocked != (p->out_count > 0)) {
        /* Nothing more is taken while the initiator does not take what it gets. */
        p->blocked = p->out_count > 0;
        struct epoll_event event = {.events = p->blocked ? EPOLLOUT : EPOLLIN, .data.ptr = p};
        epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &event);
    }
    return 0;
}

static int readable(struct peer *p) {
    ssize_t k = recv(p->fd, p->buffer + p->have, BUFFER - p->have, 0);
    if (k <= 0) return k < 0 && errno == EAGAIN ? 0 : -1;
    uint32_t end = p->have + (uint32_t)k, at = 0;
    while (end - at >= 48) {
        const uint8_t *bhs = p->buffer + at;
        uint32_t n = bhs[5] << 16 | bhs[6] << 8 | bhs[7], whole = 48 + ((n + 3) & ~3u);
        if (whole > BUFFER) return -1;
        if (end - at < whole) break;
        int opcode = bhs[0] & 0x3f;
        if (opcode == 0x03) login(p, bhs);
        else if (opcode == 0x01) command(p, bhs, bhs + 48, n);
        else if (opcode == 0x05) data_out(p, bhs, bhs + 48, n);
        else if (opcode == 0x06) { answer(p, 0x26, bhs, NULL, 0); p->stat_sn++; }
        at += whole;
    }
    memmove(p->buffer, p->buffer + at, end - at);
    p->have = end - at;
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "--file")) {
        struct stat state;
        file = open(argv[2], O_RDWR);
        if (file < 0 || fstat(file, &state)) { perror(argv[2]); return 1; }
        blocks = (uint64_t)state.st_size / BLOCK;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0), one = 1;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) { perror("listen"); return 1; }
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &one;
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct peer *p = events[i].data.ptr;
            if (events[i].data.ptr == &one) {
                char byte;
                if (read(0, &byte, 1) <= 0) return 0;
                continue;
            }
            if (!p) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                p = calloc(1, sizeof *p);
                p->fd = fd;
                event.data.ptr = p;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            int bad = events[i].events & EPOLLIN ? readable(p) : 0;
            if (bad || flush_out(p, epoll)) {
                close(p->fd);
                for (int t = 0; t < TASKS; t++) free(p->tasks[t].data);
                free(p);
            }
        }
    }
}
