/* A load generator for iSCSI targets: one thread, raw sockets, epoll. Prints one JSON object.
 *
 *   cc -O2 -pthread -o loadgen loadgen.c
 *   loadgen --port 3260 --target iqn... [--host 127.0.0.1] [--lun 1] [--luns 1] [--sessions 1] [--depth 1]
 *           [--op read|write|mix|tur|login] [--reads 70] [--size 4096] [--sequential] [--span BYTES]
 *           [--seconds 1] [--warmup 0.2] [--header-digest] [--data-digest] [--verify]
 *           [--chap USER:SECRET] [--pid SERVER] [--tape]
 *
 * A command counts when its last byte has come. Every PDU that one recv brought is handled before anything is sent,
 * and all that is to be sent goes out by one sendmsg. --verify keeps a version of every slot of the medium, never has
 * two commands at one slot, and compares every byte read. --pid: CPU time of all threads of the server in the measured
 * window. Session i uses LUN lun + i % luns. "login": sessions threads log in and out, one connection each time.
 * --tape: READ(6) and WRITE(6) of variable blocks from the beginning on; REWIND after --span bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { READ, WRITE, MIX, TUR, LOGIN };
enum { SUB = 16, BUCKETS = 40 * SUB, BUFFER = 1 << 20, PIECES = 1000, DECLARED = 262144 };

static struct {
    const char *host, *target, *user, *secret;
    int port, lun, luns, sessions, depth, op, reads, sequential, header_digest, data_digest, verify, pid, tape;
    uint32_t size;
    uint64_t span;
    double seconds, warmup;
} opt = {"127.0.0.1", NULL, NULL, NULL, 0, 1, 1, 1, 1, READ, 70, 0, 0, 0, 0, 0, 0, 4096, 0, 1.0, 0.2};

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static uint64_t random_state = 88172645463325252u;
static uint64_t rnd(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void put32(uint8_t *p, uint32_t v) { v = htonl(v); memcpy(p, &v, 4); }
static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return ntohl(v); }
static void put64(uint8_t *p, uint64_t v) { put32(p, v >> 32); put32(p + 4, (uint32_t)v); }
static uint32_t padded(uint32_t n) { return (n + 3) & ~3u; }

/* --- CRC32C ------------------------------------------------------------------------------------------------------- */

static uint32_t crc_table[256];
static uint32_t crc_slow(uint32_t crc, const uint8_t *p, size_t n) {
    while (n--) crc = crc_table[(crc ^ *p++) & 255] ^ crc >> 8;
    return crc;
}
#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_fast(uint32_t crc, const uint8_t *p, size_t n) {
    uint64_t wide = crc, word;
    for (; n >= 8; n -= 8, p += 8) { memcpy(&word, p, 8); wide = __builtin_ia32_crc32di(wide, word); }
    crc = (uint32_t)wide;
    while (n--) crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}
#endif
static uint32_t (*crc_more)(uint32_t, const uint8_t *, size_t) = crc_slow;
static void crc_init(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78u ^ c >> 1 : c >> 1;
        crc_table[i] = c;
    }
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) crc_more = crc_fast;
#endif
}
static void put_crc(uint8_t *to, uint32_t crc) {
    crc = ~crc;
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(crc >> 8 * i);
}

/* --- MD5, for CHAP (RFC 1321) ------------------------------------------------------------------------------------- */

static void md5(const uint8_t *data, size_t n, uint8_t out[16]) {
    static const uint8_t shift[16] = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};
    static uint32_t sine[64];
    if (!sine[0]) {
        /* floor(2^32 |sin(i + 1)|) without libm: by the addition theorem, in long double. */
        long double s1 = 0.841470984807896506652502321630298999L, c1 = 0.540302305868139717400936607442976604L;
        long double s = s1, c = c1;
        for (int i = 0; i < 64; i++) {
            sine[i] = (uint32_t)((s < 0 ? -s : s) * 4294967296.0L);
            long double next = s * c1 + c * s1;
            c = c * c1 - s * s1;
            s = next;
        }
    }
    uint8_t block[128 + 512] = {0};
    size_t whole = (n + 8) / 64 * 64 + 64;
    if (n > 512) die("CHAP secret too long");
    memcpy(block, data, n);
    block[n] = 0x80;
    uint64_t bits = n * 8;
    for (int i = 0; i < 8; i++) block[whole - 8 + i] = (uint8_t)(bits >> 8 * i);
    uint32_t h[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    for (size_t at = 0; at < whole; at += 64) {
        uint32_t m[16], a = h[0], b = h[1], c = h[2], d = h[3];
        for (int i = 0; i < 16; i++)
            m[i] = block[at + i * 4] | block[at + i * 4 + 1] << 8 | block[at + i * 4 + 2] << 16
                 | (uint32_t)block[at + i * 4 + 3] << 24;
        for (int i = 0; i < 64; i++) {
            uint32_t f, g;
            if (i < 16) { f = (b & c) | (~b & d); g = i; }
            else if (i < 32) { f = (d & b) | (~d & c); g = (5 * i + 1) % 16; }
            else if (i < 48) { f = b ^ c ^ d; g = (3 * i + 5) % 16; }
            else { f = c ^ (b | ~d); g = 7 * i % 16; }
            f += a + sine[i] + m[g];
            a = d; d = c; c = b;
            int r = shift[i / 16 * 4 + i % 4];
            b += f << r | f >> (32 - r);
        }
        h[0] += a; h[1] += b; h[2] += c; h[3] += d;
    }
    for (int i = 0; i < 16; i++) out[i] = (uint8_t)(h[i / 4] >> 8 * (i % 4));
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

struct slot { uint64_t start, place; uint32_t version; int writes, no_data, next_free; };

struct session {
    int fd, number, in_flight, free_slot, waiting, writable;
    uint32_t cmd_sn, exp_stat_sn, max_cmd_sn, max_send, first_burst, max_burst, block;
    int immediate, initial_r2t, header_digest, data_digest;
    uint64_t lun, capacity, cursor, operations;
    struct slot *slots;
    /* what is to be sent */
    struct iovec *out;
    int out_first, out_count, out_limit;
    uint8_t (*headers)[56];
    int headers_used, headers_limit;
    uint8_t *written;               /* verify: Data-Out of each slot */
    /* what comes */
    uint8_t head[52], tail[8];
    uint32_t have, length, got, trailer, trailer_got, crc;
    int in_data;
    uint32_t *histogram;
};

static struct session *sessions;
static uint8_t *pattern;            /* what writes send */
static uint32_t *versions;
static uint8_t *busy;
static uint64_t places, bytes_done, operations_done, errors, mismatches;
static uint64_t slowest;
static int measuring, stopping;

static void write_all(int fd, const uint8_t *p, size_t n) {
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0) die("send: %s", strerror(errno));
        p += k; n -= k;
    }
}

static void read_all(int fd, uint8_t *p, size_t n) {
    while (n) {
        ssize_t k = recv(fd, p, n, 0);
        if (k <= 0) die("the target closed the connection: %s", k ? strerror(errno) : "end");
        p += k; n -= k;
    }
}

/* One PDU without haste. Data is at most 8 KiB. */
static void send_plain(struct session *s, uint8_t *bhs, const void *data, uint32_t n) {
    uint8_t wire[48 + 4 + 8192 + 8] = {0};
    uint32_t at = 48;
    bhs[5] = n >> 16; bhs[6] = n >> 8; bhs[7] = n;
    memcpy(wire, bhs, 48);
    if (s->header_digest) { put_crc(wire + 48, crc_more(~0u, wire, 48)); at += 4; }
    if (n) memcpy(wire + at, data, n);
    uint32_t end = at + padded(n);
    if (n && s->data_digest) { put_crc(wire + end, crc_more(~0u, wire + at, padded(n))); end += 4; }
    write_all(s->fd, wire, end);
}

static uint32_t recv_plain(struct session *s, uint8_t *bhs, uint8_t *data, uint32_t room) {
    uint8_t digest[4];
    read_all(s->fd, bhs, 48);
    if (s->header_digest) read_all(s->fd, digest, 4);
    uint32_t n = bhs[5] << 16 | bhs[6] << 8 | bhs[7];
    if (padded(n) > room) die("a PDU of %u bytes of data", n);
    read_all(s->fd, data, padded(n));
    if (n && s->data_digest) read_all(s->fd, digest, 4);
    if (bhs[0] == 0x3f) die("Reject, reason %#x", bhs[2]);
    return n;
}

static int find_key(const uint8_t *text, uint32_t n, const char *key, char *value, size_t room) {
    size_t length = strlen(key);
    for (uint32_t at = 0; at < n; at += strnlen((const char *)text + at, n - at) + 1)
        if (n - at > length && !memcmp(text + at, key, length) && text[at + length] == '=') {
            snprintf(value, room, "%.*s", (int)(n - at - length - 1), text + at + length + 1);
            return 1;
        }
    return 0;
}

static uint32_t add_key(char *text, uint32_t at, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    at += vsprintf(text + at, format, arguments) + 1;
    va_end(arguments);
    return at;
}

static void open_socket(struct session *s) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(opt.port)};
    int one = 1;
    inet_pton(AF_INET, opt.host, &address.sin_addr);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&address, sizeof address)) die("connect: %s", strerror(errno));
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void chap_answer(const uint8_t *text, uint32_t n, char *out, uint32_t *at) {
    char identifier[16], challenge[2100];
    uint8_t message[1200], digest[16];
    if (!find_key(text, n, "CHAP_I", identifier, sizeof identifier)) die("no CHAP_I");
    if (!find_key(text, n, "CHAP_C", challenge, sizeof challenge)) die("no CHAP_C");
    size_t length = 0;
    message[length++] = (uint8_t)strtol(identifier, NULL, 0);
    memcpy(message + length, opt.secret, strlen(opt.secret));
    length += strlen(opt.secret);
    if (strncasecmp(challenge, "0x", 2)) die("the challenge is not hexadecimal");
    for (char *p = challenge + 2; p[0] && p[1]; p += 2) {
        unsigned byte;
        sscanf(p, "%2x", &byte);
        message[length++] = (uint8_t)byte;
    }
    md5(message, length, digest);
    char hex[33];
    for (int i = 0; i < 16; i++) sprintf(hex + 2 * i, "%02x", digest[i]);
    *at = add_key(out, *at, "CHAP_N=%s", opt.user);
    *at = add_key(out, *at, "CHAP_R=0x%s", hex);
}

static void take_operational(struct session *s, const uint8_t *text, uint32_t n, int digests[2]) {
    char value[64];
    if (find_key(text, n, "MaxRecvDataSegmentLength", value, sizeof value)) s->max_send = atoi(value);
    if (find_key(text, n, "FirstBurstLength", value, sizeof value)) s->first_burst = atoi(value);
    if (find_key(text, n, "MaxBurstLength", value, sizeof value)) s->max_burst = atoi(value);
    if (find_key(text, n, "ImmediateData", value, sizeof value)) s->immediate = !strcmp(value, "Yes");
    if (find_key(text, n, "InitialR2T", value, sizeof value)) s->initial_r2t = !strcmp(value, "Yes");
    if (find_key(text, n, "HeaderDigest", value, sizeof value)) digests[0] = !strcmp(value, "CRC32C");
    if (find_key(text, n, "DataDigest", value, sizeof value)) digests[1] = !strcmp(value, "CRC32C");
}

static void login(struct session *s, uint32_t unique) {
    int stage = 0, asked = 0, answered = 0, digests[2] = {0, 0};
    s->max_send = 8192; s->first_burst = 65536; s->max_burst = 262144; s->immediate = 1; s->initial_r2t = 1;
    s->header_digest = s->data_digest = 0;
    s->cmd_sn = 1; s->exp_stat_sn = 0;
    uint8_t answer[48], data[16384];
    uint32_t n = 0;
    for (int turn = 0; turn < 12; turn++) {
        uint8_t bhs[48] = {0x43};
        char text[4096];
        uint32_t at = 0;
        int transit = 1;
        if (stage == 0 && !asked) {
            at = add_key(text, at, "InitiatorName=iqn.2026-11.bench:loadgen");
            at = add_key(text, at, "SessionType=Normal");
            at = add_key(text, at, "TargetName=%s", opt.target);
            at = add_key(text, at, "AuthMethod=%s", opt.user ? "CHAP" : "None");
            asked = 1;
            transit = !opt.user;
        } else if (stage == 0 && asked == 1) {
            at = add_key(text, at, "CHAP_A=5");
            asked = 2;
            transit = 0;
        } else if (stage == 0 && asked == 2) {
            chap_answer(data, n, text, &at);
            asked = 3;
        } else if (stage == 1 && !answered) {
            at = add_key(text, at, "HeaderDigest=%s", opt.header_digest ? "CRC32C" : "None");
            at = add_key(text, at, "DataDigest=%s", opt.data_digest ? "CRC32C" : "None");
            at = add_key(text, at, "InitialR2T=No");
            at = add_key(text, at, "ImmediateData=Yes");
            at = add_key(text, at, "MaxRecvDataSegmentLength=%d", DECLARED);
            at = add_key(text, at, "MaxBurstLength=262144");
            at = add_key(text, at, "FirstBurstLength=262144");
            at = add_key(text, at, "MaxOutstandingR2T=1");
            at = add_key(text, at, "ErrorRecoveryLevel=0");
            answered = 1;
        }
        bhs[1] = (transit ? 0x80 : 0) | stage << 2 | (transit ? (stage ? 3 : 1) : 0);
        bhs[8] = 0x80;                          /* ISID: random format, unique to the session */
        put32(bhs + 10, unique);
        put32(bhs + 16, 1);
        put32(bhs + 24, s->cmd_sn);
        put32(bhs + 28, s->exp_stat_sn);
        send_plain(s, bhs, text, at);
        n = recv_plain(s, answer, data, sizeof data);
        if (answer[0] != 0x23 || answer[36]) die("login refused: status %02x%02x", answer[36], answer[37]);
        s->exp_stat_sn = get32(answer + 24) + 1;
        s->max_cmd_sn = get32(answer + 32);
        if (stage == 1) take_operational(s, data, n, digests);
        if (!(answer[1] & 0x80)) continue;
        stage = answer[1] & 3;
        if (stage == 3) {
            /* Digests begin with the full feature phase. */
            s->header_digest = digests[0];
            s->data_digest = digests[1];
            if (digests[0] != opt.header_digest || digests[1] != opt.data_digest) die("digests were refused");
            return;
        }
    }
    die("the login does not end");
}

static void logout(struct session *s) {
    uint8_t bhs[48] = {0x46, 0x80}, data[8192];
    put32(bhs + 16, 0x7ffffff0);
    put32(bhs + 24, s->cmd_sn);
    put32(bhs + 28, s->exp_stat_sn);
    send_plain(s, bhs, NULL, 0);
    recv_plain(s, bhs, data, sizeof data);
    close(s->fd);
}

static void command_bhs(struct session *s, uint8_t *bhs, int flags, uint32_t itt, uint32_t expected) {
    memset(bhs, 0, 48);
    bhs[0] = 0x01;
    bhs[1] = 0x80 | flags | 1;          /* SIMPLE */
    put64(bhs + 8, s->lun);
    put32(bhs + 16, itt);
    put32(bhs + 20, expected);
    put32(bhs + 24, s->cmd_sn++);
    put32(bhs + 28, s->exp_stat_sn);
}

/* A command without haste: its SCSI status. */
static int plain_command(struct session *s, const uint8_t *cdb, uint8_t *in, uint32_t expected) {
    uint8_t bhs[48], data[16384];
    int status = -1;
    command_bhs(s, bhs, expected ? 0x40 : 0, 0x7fffff00, expected);
    memcpy(bhs + 32, cdb, 16);
    send_plain(s, bhs, NULL, 0);
    while (status < 0) {
        uint32_t n = recv_plain(s, bhs, data, sizeof data);
        s->max_cmd_sn = get32(bhs + 32);
        if (bhs[0] == 0x25) {
            memcpy(in, data, n < expected ? n : expected);
            if (bhs[1] & 1) status = bhs[3];
        } else if (bhs[0] == 0x21)
            status = bhs[3];
        if (status >= 0) s->exp_stat_sn = get32(bhs + 24) + 1;
    }
    return status;
}

static void prepare_session(struct session *s, int number) {
    uint8_t ready[16] = {0}, capacity[16] = {0x9e, 0x10, [13] = 32}, answer[32] = {0}, rewind[16] = {1};
    s->number = number;
    s->lun = (uint64_t)(opt.lun + number % opt.luns);
    s->lun = (s->lun < 256 ? s->lun : 0x4000 | s->lun) << 48;
    open_socket(s);
    login(s, (uint32_t)(getpid() << 14) + number);
    for (int i = 0; i < 10 && plain_command(s, ready, NULL, 0); i++) {}
    if (opt.tape) {
        if (plain_command(s, rewind, NULL, 0)) die("REWIND failed");
        s->block = 1;
        s->capacity = opt.span;
    } else {
        if (plain_command(s, capacity, answer, 32)) die("READ CAPACITY(16) failed");
        s->block = get32(answer + 8);
        s->capacity = ((uint64_t)get32(answer) << 32 | get32(answer + 4)) + 1;
    }
    s->slots = calloc(opt.depth, sizeof *s->slots);
    for (int i = 0; i < opt.depth; i++) s->slots[i].next_free = i + 1 < opt.depth ? i + 1 : -1;
    uint32_t pdus = opt.op == TUR || opt.op == READ ? 2 : 3 + opt.size / s->max_send + opt.size / s->max_burst;
    s->headers_limit = opt.depth * (pdus + 2);
    s->headers = calloc(s->headers_limit, sizeof *s->headers);
    s->out_limit = s->headers_limit * 3;
    s->out = calloc(s->out_limit, sizeof *s->out);
    s->histogram = calloc(BUCKETS, sizeof *s->histogram);
    if (opt.verify) s->written = malloc((size_t)opt.depth * opt.size);
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
}

/* --- the measured part -------------------------------------------------------------------------------------------- */

static int bucket(uint64_t ns) {
    if (ns < SUB) return (int)ns;
    int top = 63 - __builtin_clzll(ns);
    int index = (top - 3) * SUB + (int)(ns >> (top - 4) & (SUB - 1));
    return index < BUCKETS ? index : BUCKETS - 1;
}

static double bucket_value(int index) {
    if (index < SUB) return index;
    int top = index / SUB + 3;
    return (double)(1ull << top) * (1 + (index % SUB + 0.5) / SUB);
}

static double percentile(const uint32_t *histogram, double part) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++) total += histogram[i];
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += histogram[i]) && seen >= total * part) return bucket_value(i) / 1000;
    return 0;
}

static uint64_t word_of(uint64_t place, uint32_t version, uint32_t index) {
    uint64_t x = place * 0x9e3779b97f4a7c15u ^ (uint64_t)version << 40 ^ index;
    x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
    return x ^ x >> 29;
}

static void push(struct session *s, const void *p, uint32_t n) {
    s->out[s->out_first + s->out_count].iov_base = (void *)p;
    s->out[s->out_first + s->out_count++].iov_len = n;
}

/* Queue the PDU whose BHS was built in `header`, with data. */
static void queue_pdu(struct session *s, uint8_t *header, const uint8_t *data, uint32_t n) {
    header[5] = n >> 16; header[6] = n >> 8; header[7] = n;
    if (s->header_digest) put_crc(header + 48, crc_more(~0u, header, 48));
    push(s, header, s->header_digest ? 52 : 48);
    if (!n) return;
    push(s, data, n);
    if (s->data_digest) {
        put_crc(header + 52, crc_more(~0u, data, n));
        push(s, header + 52, 4);
    }
}

static uint8_t *new_header(struct session *s) {
    /* A ring: no more than headers_limit can wait to be sent. */
    if (s->headers_used == s->headers_limit) s->headers_used = 0;
    return s->headers[s->headers_used++];
}

static const uint8_t *data_of(struct session *s, int itt) {
    return opt.verify ? s->written + (size_t)itt * opt.size : pattern;
}

static void issue(struct session *s, uint64_t when) {
    while (s->free_slot >= 0 && !stopping && (int32_t)(s->max_cmd_sn - s->cmd_sn) >= 0) {
        int itt = s->free_slot;
        struct slot *slot = &s->slots[itt];
        uint8_t cdb[16] = {0};
        slot->writes = opt.op == WRITE || (opt.op == MIX && (int)(rnd() % 100) >= opt.reads);
        slot->no_data = opt.op == TUR;
        if (opt.tape && opt.op != TUR && s->cursor == places) {
            s->cursor = 0;
            slot->no_data = 1;
            slot->writes = 0;
            cdb[0] = 0x01;
        } else if (opt.tape && opt.op != TUR) {
            s->cursor++;
            cdb[0] = slot->writes ? 0x0a : 0x08;
            cdb[2] = opt.size >> 16; cdb[3] = opt.size >> 8; cdb[4] = opt.size;
        } else if (opt.op != TUR) {
            if (opt.sequential) {
                slot->place = s->cursor;
                s->cursor = (s->cursor + 1) % places;
            } else {
                do slot->place = rnd() % places; while (opt.verify && busy[slot->place]);
            }
            uint32_t blocks = opt.size / s->block;
            uint64_t lba = slot->place * blocks;
            cdb[0] = slot->writes ? 0x2a : 0x28;
            put32(cdb + 2, (uint32_t)lba);
            cdb[7] = blocks >> 8; cdb[8] = blocks;
            if (opt.verify) {
                busy[slot->place] = 1;
                slot->version = versions[slot->place];
                if (!slot->version) { slot->writes = 1; cdb[0] = 0x2a; }
                if (slot->writes) {
                    slot->version++;
                    uint64_t *words = (uint64_t *)(s->written + (size_t)itt * opt.size);
                    for (uint32_t i = 0; i < opt.size / 8; i++) words[i] = word_of(slot->place, slot->version, i);
                }
            }
        }
        s->free_slot = slot->next_free;
        s->in_flight++;
        slot->start = when;
        uint8_t *header = new_header(s);
        command_bhs(s, header, slot->no_data ? 0 : slot->writes ? 0x20 : 0x40, itt, slot->no_data ? 0 : opt.size);
        memcpy(header + 32, cdb, 16);
        uint32_t sent = 0;
        if (slot->writes && s->immediate) {
            sent = opt.size < s->first_burst ? opt.size : s->first_burst;
            if (sent > s->max_send) sent = s->max_send;
        }
        queue_pdu(s, header, data_of(s, itt), sent);
    }
}

static void answer_r2t(struct session *s, const uint8_t *bhs) {
    uint32_t itt = get32(bhs + 16), offset = get32(bhs + 40), left = get32(bhs + 44), sn = 0;
    while (left) {
        uint32_t n = left < s->max_send ? left : s->max_send;
        uint8_t *header = new_header(s);
        memset(header, 0, 48);
        header[0] = 0x05;
        header[1] = n == left ? 0x80 : 0;
        put64(header + 8, s->lun);
        put32(header + 16, itt);
        memcpy(header + 20, bhs + 20, 4);
        put32(header + 28, s->exp_stat_sn);
        put32(header + 36, sn++);
        put32(header + 40, offset);
        queue_pdu(s, header, data_of(s, itt) + offset, n);
        offset += n;
        left -= n;
    }
}

static void ended(struct session *s, uint32_t itt, int status, uint64_t when) {
    struct slot *slot = &s->slots[itt];
    if (status) {
        if (!errors) fprintf(stderr, "loadgen: status %#x\n", status);
        errors++;
    }
    if (opt.verify) {
        if (slot->writes) versions[slot->place] = slot->version;
        busy[slot->place] = 0;
    }
    if (measuring) {
        uint64_t took = when - slot->start;
        s->histogram[bucket(took)]++;
        s->operations++;
        operations_done++;
        bytes_done += slot->no_data ? 0 : opt.size;
        if (took > slowest) slowest = took;
    }
    s->in_flight--;
    slot->next_free = s->free_slot;
    s->free_slot = itt;
}

static void check_data(struct session *s, const uint8_t *p, uint32_t n) {
    uint32_t itt = get32(s->head + 16), at = get32(s->head + 40) + s->got;
    struct slot *slot = &s->slots[itt];
    for (uint32_t i = 0; i < n; i++, at++) {
        uint64_t word = word_of(slot->place, slot->version, at / 8);
        if (p[i] != ((uint8_t *)&word)[at % 8]) { mismatches++; return; }
    }
}

static void pdu_done(struct session *s, uint64_t when) {
    const uint8_t *bhs = s->head;
    int opcode = bhs[0] & 0x3f;
    s->max_cmd_sn = get32(bhs + 32);
    if (opcode == 0x25) {
        if (bhs[1] & 1) { s->exp_stat_sn = get32(bhs + 24) + 1; ended(s, get32(bhs + 16), bhs[3], when); }
    } else if (opcode == 0x21) {
        s->exp_stat_sn = get32(bhs + 24) + 1;
        ended(s, get32(bhs + 16), bhs[2] ? 0x100 : bhs[3], when);
    } else if (opcode == 0x31)
        answer_r2t(s, bhs);
    else if (opcode == 0x20) {
        if (get32(bhs + 20) != 0xffffffff) {
            uint8_t *header = new_header(s);
            memset(header, 0, 48);
            header[0] = 0x40; header[1] = 0x80;
            memcpy(header + 8, bhs + 8, 8);
            memset(header + 16, 0xff, 4);
            memcpy(header + 20, bhs + 20, 4);
            put32(header + 24, s->cmd_sn);
            put32(header + 28, s->exp_stat_sn);
            queue_pdu(s, header, NULL, 0);
        }
    } else
        die("a PDU with opcode %#x, reason %#x", opcode, bhs[2]);
}

static void consume(struct session *s, const uint8_t *p, uint32_t n, uint64_t when) {
    uint32_t head = 48 + (s->header_digest ? 4 : 0);
    while (n) {
        if (!s->in_data) {
            uint32_t k = head - s->have < n ? head - s->have : n;
            memcpy(s->head + s->have, p, k);
            s->have += k; p += k; n -= k;
            if (s->have < head) return;
            if (s->header_digest) {
                uint8_t digest[4];
                put_crc(digest, crc_more(~0u, s->head, 48));
                if (memcmp(digest, s->head + 48, 4)) die("header digest error");
            }
            s->length = s->head[5] << 16 | s->head[6] << 8 | s->head[7];
            s->got = s->trailer_got = 0;
            s->crc = ~0u;
            s->trailer = s->length ? padded(s->length) - s->length + (s->data_digest ? 4 : 0) : 0;
            s->in_data = 1;
        }
        if (s->got < s->length) {
            uint32_t k = s->length - s->got < n ? s->length - s->got : n;
            if (s->data_digest) s->crc = crc_more(s->crc, p, k);
            if (opt.verify && (s->head[0] & 0x3f) == 0x25) check_data(s, p, k);
            s->got += k; p += k; n -= k;
            if (s->got < s->length) return;
        }
        if (s->trailer_got < s->trailer) {
            uint32_t k = s->trailer - s->trailer_got < n ? s->trailer - s->trailer_got : n;
            memcpy(s->tail + s->trailer_got, p, k);
            s->trailer_got += k; p += k; n -= k;
            if (s->trailer_got < s->trailer) return;
            if (s->data_digest) {
                uint8_t digest[4];
                put_crc(digest, crc_more(s->crc, s->tail, s->trailer - 4));
                if (memcmp(digest, s->tail + s->trailer - 4, 4)) die("data digest error");
            }
        }
        pdu_done(s, when);
        s->in_data = 0;
        s->have = 0;
    }
}

static void flush_out(struct session *s, int epoll) {
    while (s->out_count) {
        struct msghdr message = {
            .msg_iov = s->out + s->out_first, .msg_iovlen = s->out_count < PIECES ? s->out_count : PIECES};
        ssize_t k = sendmsg(s->fd, &message, MSG_NOSIGNAL);
        if (k < 0 && errno != EAGAIN) die("sendmsg: %s", strerror(errno));
        if (k < 0) break;
        while (k > 0) {
            struct iovec *first = s->out + s->out_first;
            if ((size_t)k < first->iov_len) {
                first->iov_base = (uint8_t *)first->iov_base + k;
                first->iov_len -= k;
                break;
            }
            k -= first->iov_len;
            s->out_first++;
            s->out_count--;
        }
    }
    if (!s->out_count) s->out_first = 0;
    else if (s->out_first) {
        memmove(s->out, s->out + s->out_first, s->out_count * sizeof *s->out);
        s->out_first = 0;
    }
    if (s->writable != (s->out_count > 0)) {
        s->writable = s->out_count > 0;
        struct epoll_event event = {.events = EPOLLIN | (s->writable ? EPOLLOUT : 0), .data.ptr = s};
        epoll_ctl(epoll, EPOLL_CTL_MOD, s->fd, &event);
    }
}

static double server_cpu(void) {
    char path[300];
    double total = 0;
    if (!opt.pid) return 0;
    snprintf(path, sizeof path, "/proc/%d/task", opt.pid);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", opt.pid, entry->d_name);
        FILE *file = fopen(path, "r");
        unsigned long long ns = 0;
        if (file && fscanf(file, "%llu", &ns) == 1) total += ns;
        if (file) fclose(file);
    }
    if (folder) closedir(folder);
    return total / 1e9;
}

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(double seconds, double cpu) {
    uint32_t *all = calloc(BUCKETS, sizeof *all);
    double *counts = calloc(opt.sessions, sizeof *counts), *p99 = calloc(opt.sessions, sizeof *p99);
    for (int i = 0; i < opt.sessions; i++) {
        counts[i] = sessions[i].operations;
        p99[i] = percentile(sessions[i].histogram, 0.99);
        for (int k = 0; k < BUCKETS; k++) all[k] += sessions[i].histogram[k];
    }
    qsort(counts, opt.sessions, sizeof *counts, by_number);
    qsort(p99, opt.sessions, sizeof *p99, by_number);
    int middle = opt.sessions / 2, last = opt.sessions - 1;
    printf("{\"seconds\": %.4f, \"operations\": %llu, \"bytes\": %llu, \"iops\": %.1f, \"mib_s\": %.2f, ", seconds,
           (unsigned long long)operations_done, (unsigned long long)bytes_done, operations_done / seconds,
           bytes_done / seconds / 1048576);
    printf("\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"max_us\": %.1f, ", percentile(all, 0.5),
           percentile(all, 0.99), percentile(all, 0.999), slowest / 1000.0);
    printf("\"cpu_us\": %.4f, \"errors\": %llu, \"mismatches\": %llu, ",
           operations_done ? cpu / operations_done * 1e6 : 0, (unsigned long long)errors,
           (unsigned long long)mismatches);
    printf("\"session_operations\": {\"min\": %.0f, \"median\": %.0f, \"max\": %.0f}, ", counts[0], counts[middle],
           counts[last]);
    printf("\"session_p99_us\": {\"median\": %.1f, \"max\": %.1f}}\n", p99[middle], p99[last]);
}

static void run_load(void) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    uint8_t *buffer = malloc(BUFFER);
    sessions = calloc(opt.sessions, sizeof *sessions);
    pattern = malloc(opt.size + 8);
    for (uint32_t i = 0; i < opt.size; i++) pattern[i] = (uint8_t)(rnd() >> 32);
    for (int i = 0; i < opt.sessions; i++) prepare_session(&sessions[i], i);
    uint64_t bytes = sessions[0].capacity * sessions[0].block;
    if (opt.span && opt.span < bytes) bytes = opt.span;
    if (opt.op != TUR) {
        if (opt.size % sessions[0].block || bytes < opt.size) die("size %u and block %u", opt.size, sessions[0].block);
        places = bytes / opt.size;
        if (opt.verify) {
            if (places < 2u * opt.sessions * opt.depth) die("too little medium to verify");
            versions = calloc(places, sizeof *versions);
            busy = calloc(places, 1);
        }
    }
    for (int i = 0; i < opt.sessions; i++) {
        struct session *s = &sessions[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
        epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event);
        if (places) s->cursor = places / opt.sessions * i;
    }
    for (int i = 0; i < opt.sessions; i++) {
        issue(&sessions[i], now());
        flush_out(&sessions[i], epoll);
    }
    uint64_t begin = now() + (uint64_t)(opt.warmup * 1e9), end = begin + (uint64_t)(opt.seconds * 1e9), last = 0;
    uint64_t begun = 0;
    double cpu = 0;
    int left = opt.sessions;
    while (left) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, 100);
        uint64_t t = now();
        if (!measuring && !stopping && t >= begin) {
            cpu = server_cpu();
            begun = now();
            measuring = 1;
            end = begun + (uint64_t)(opt.seconds * 1e9);
            t = begun;
        }
        if (measuring && t >= end) {
            measuring = 0;
            stopping = 1;
            last = t;
            cpu = server_cpu() - cpu;
        }
        if (stopping && t > last + 10000000000u) die("commands are not answered");
        for (int i = 0; i < n; i++) {
            struct session *s = events[i].data.ptr;
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                ssize_t k = recv(s->fd, buffer, BUFFER, 0);
                if (!k) die("the target closed session %d", s->number);
                if (k < 0 && errno != EAGAIN) die("recv: %s", strerror(errno));
                if (k > 0) {
                    t = now();
                    consume(s, buffer, k, t);
                    issue(s, t);
                }
            }
            if (s->out_count) flush_out(s, epoll);
        }
        if (stopping)
            for (int i = left = 0; i < opt.sessions; i++) left += sessions[i].in_flight > 0;
    }
    report((last - begun) / 1e9, cpu);
    for (int i = 0; i < opt.sessions; i++) {
        fcntl(sessions[i].fd, F_SETFL, 0);
        logout(&sessions[i]);
    }
}

/* --- logins ------------------------------------------------------------------------------------------------------- */

static void *log_in_and_out(void *argument) {
    struct session *s = argument;
    for (uint32_t count = 0; !stopping; count++) {
        uint64_t start = now();
        open_socket(s);
        login(s, (uint32_t)(getpid() << 14) + s->number);
        uint64_t took = now() - start;
        if (measuring) { s->histogram[bucket(took)]++; s->operations++; }
        logout(s);
    }
    return NULL;
}

static void run_logins(void) {
    pthread_t *threads = calloc(opt.sessions, sizeof *threads);
    uint8_t scratch[16];
    md5(scratch, 0, scratch);               /* its table, before there are threads */
    sessions = calloc(opt.sessions, sizeof *sessions);
    for (int i = 0; i < opt.sessions; i++) {
        sessions[i].number = i;
        sessions[i].histogram = calloc(BUCKETS, sizeof(uint32_t));
        pthread_create(&threads[i], NULL, log_in_and_out, &sessions[i]);
    }
    usleep((useconds_t)(opt.warmup * 1e6));
    double cpu = server_cpu();
    uint64_t begun = now();
    __atomic_store_n(&measuring, 1, __ATOMIC_SEQ_CST);
    usleep((useconds_t)(opt.seconds * 1e6));
    __atomic_store_n(&measuring, 0, __ATOMIC_SEQ_CST);
    double seconds = (now() - begun) / 1e9;
    cpu = server_cpu() - cpu;
    __atomic_store_n(&stopping, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < opt.sessions; i++) {
        pthread_join(threads[i], NULL);
        operations_done += sessions[i].operations;
    }
    report(seconds, cpu);
}

/* --- options ------------------------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
    static const char *names[] = {"read", "write", "mix", "tur", "login"};
    setlinebuf(stderr);
    crc_init();
    random_state ^= (uint64_t)getpid() << 20;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--sequential")) { opt.sequential = 1; continue; }
        if (!strcmp(name, "--header-digest")) { opt.header_digest = 1; continue; }
        if (!strcmp(name, "--data-digest")) { opt.data_digest = 1; continue; }
        if (!strcmp(name, "--verify")) { opt.verify = 1; continue; }
        if (!strcmp(name, "--tape")) { opt.tape = opt.sequential = 1; continue; }
        if (i + 1 == argc) die("%s: what is that, or what is its value?", name);
        char *value = argv[++i];
        if (!strcmp(name, "--host")) opt.host = value;
        else if (!strcmp(name, "--port")) opt.port = atoi(value);
        else if (!strcmp(name, "--target")) opt.target = value;
        else if (!strcmp(name, "--lun")) opt.lun = atoi(value);
        else if (!strcmp(name, "--luns")) opt.luns = atoi(value);
        else if (!strcmp(name, "--sessions")) opt.sessions = atoi(value);
        else if (!strcmp(name, "--depth")) opt.depth = atoi(value);
        else if (!strcmp(name, "--reads")) opt.reads = atoi(value);
        else if (!strcmp(name, "--size")) opt.size = (uint32_t)atoi(value);
        else if (!strcmp(name, "--span")) opt.span = strtoull(value, NULL, 0);
        else if (!strcmp(name, "--seconds")) opt.seconds = atof(value);
        else if (!strcmp(name, "--warmup")) opt.warmup = atof(value);
        else if (!strcmp(name, "--pid")) opt.pid = atoi(value);
        else if (!strcmp(name, "--chap")) {
            opt.user = value;
            opt.secret = strchr(value, ':');
            if (!opt.secret) die("--chap USER:SECRET");
            *strchr(value, ':') = 0;
            opt.secret++;
        } else if (!strcmp(name, "--op")) {
            for (opt.op = 0; opt.op < 5 && strcmp(value, names[opt.op]); opt.op++) {}
            if (opt.op == 5) die("--op read, write, mix, tur or login");
        } else die("%s: what is that?", name);
    }
    if (!opt.target || !opt.port) die("--target and --port are needed");
    if (opt.tape && (!opt.span || opt.verify || opt.sessions > 1)) die("--tape: one session, with --span, without --verify");
    if (opt.verify && opt.size % 8) die("--verify: sizes that are multiples of 8");
    struct rlimit files = {1 << 16, 1 << 16};
    if (setrlimit(RLIMIT_NOFILE, &files) && !getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (opt.op == LOGIN) run_logins();
    else run_load();
    return errors || mismatches ? 2 : 0;
}
