/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /init of the Linux test guest: static, PID 1, talks over the console.
 *
 * One worker process per hart keeps a pattern in its memory, verifies what it wrote before and
 * sleeps by the kernel's timers between slices, so a lost page, a lost timer and a stopped clock
 * all show. A disk worker writes and reads back a virtio disk, a network worker pings the gateway.
 * The parent answers each received byte with one line:
 *
 *   godwit-linux: ok pass=N gap_ms=N disk=N net=N harts=N up_ms=N      pass, disk, net only ever
 * grow godwit-linux: FAIL ...
 *
 * Kernel command line: gw.mem=MiB per hart (8), gw.sleep=ms between slices (1), gw.idle (only
 * sleep).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAX_HARTS 8
#define PAGE      4096

/* Shared by all processes; each counter has one writer. */
struct shared {
    _Atomic uint64_t pass[MAX_HARTS];
    _Atomic uint64_t gap_ms[MAX_HARTS];
    _Atomic uint64_t disk, net;
    _Atomic int failed;
    char why[256];
};

static struct shared *sh;

static uint64_t now_ms(void)
{
    struct timespec ts;

    /* Not through the vDSO: with several processes on several harts this kernel's crashes, on stock
     * QEMU too. */
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

static void fail(const char *fmt, ...)
{
    va_list ap;

    if (!atomic_exchange(&sh->failed, 1)) {
        va_start(ap, fmt);
        vsnprintf(sh->why, sizeof(sh->why), fmt, ap);
        va_end(ap);
        printf("godwit-linux: FAIL %s\n", sh->why);
        fflush(stdout);
    }
    for (;;) {
        pause();
    }
}

static unsigned option(const char *cmdline, const char *name, unsigned dflt)
{
    const char *at = strstr(cmdline, name);

    return at ? (unsigned)strtoul(at + strlen(name), NULL, 10) : dflt;
}

static uint64_t mix(uint64_t page, uint64_t generation, uint64_t word)
{
    uint64_t x = page * 0x9E3779B97F4A7C15ull ^ generation * 0xC2B2AE3D27D4EB4Full ^ word;

    x ^= x >> 29;
    return x * 0xBF58476D1CE4E5B9ull;
}

static void memory_worker(int hart, unsigned mib, unsigned sleep_ms)
{
    size_t pages = mib * 256ul;
    uint64_t *mem =
        mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t *generation = calloc(pages ? pages : 1, sizeof(*generation));
    struct timespec nap = {.tv_sec = 0, .tv_nsec = sleep_ms * 1000000l};
    uint64_t last = now_ms();
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(hart, &set);
    sched_setaffinity(0, sizeof(set), &set);
    if (pages && (mem == MAP_FAILED || !generation)) {
        fail("hart %d: no memory for %u MiB", hart, mib);
    }
    for (;;) {
        for (size_t p = 0; p < pages; p++) {
            uint64_t *page = mem + p * (PAGE / 8);
            uint64_t t;

            for (int w = 0; generation[p] && w < PAGE / 8; w += 7) {
                if (page[w] != mix(p, generation[p], w)) {
                    fail("hart=%d page=%zu word=%d generation=%u", hart, p, w, generation[p]);
                }
            }
            generation[p]++;
            for (int w = 0; w < PAGE / 8; w += 7) {
                page[w] = mix(p, generation[p], w);
            }
            if (p % 64 == 63 && sleep_ms) {
                nanosleep(&nap, NULL);
            }
            t = now_ms();
            if (t < last) {
                fail("hart=%d clock went back from %llu to %llu ms", hart, (unsigned long long)last,
                     (unsigned long long)t);
            }
            if (t - last > atomic_load(&sh->gap_ms[hart])) {
                atomic_store(&sh->gap_ms[hart], t - last);
            }
            last = t;
        }
        if (!pages) {
            nanosleep(&nap, NULL);
        }
        atomic_fetch_add(&sh->pass[hart], 1);
    }
}

static void disk_worker(void)
{
    static uint64_t out[65536 / 8] __attribute__((aligned(PAGE)));
    static uint64_t in[65536 / 8] __attribute__((aligned(PAGE)));
    int fd = open("/dev/vda", O_RDWR | O_DIRECT);

    if (fd < 0) {
        _exit(0);
    }
    for (uint64_t round = 1;; round++) {
        off_t at = (off_t)(round % 64) * sizeof(out);

        for (size_t w = 0; w < sizeof(out) / 8; w++) {
            out[w] = mix(round, at, w);
        }
        if (pwrite(fd, out, sizeof(out), at) != sizeof(out) || (round % 16 == 0 && fsync(fd))) {
            fail("disk write %llu: %s", (unsigned long long)round, strerror(errno));
        }
        memset(in, 0, sizeof(in));
        if (pread(fd, in, sizeof(in), at) != sizeof(in)) {
            fail("disk read %llu: %s", (unsigned long long)round, strerror(errno));
        }
        if (memcmp(in, out, sizeof(in))) {
            fail("disk data differ in round %llu", (unsigned long long)round);
        }
        atomic_fetch_add(&sh->disk, 1);
        usleep(2000);
    }
}

static uint16_t checksum(const uint16_t *p, size_t n)
{
    uint32_t sum = 0;

    while (n--) {
        sum += *p++;
    }
    return ~((sum & 0xFFFF) + (sum >> 16));
}

/* Pings the user-mode gateway; a lost reply is sent again, so only a dead device stops the count.
 */
static void net_worker(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct timeval wait = {.tv_usec = 300000};
    struct {
        struct icmphdr head;
        uint64_t data[4];
    } msg;
    uint8_t reply[256];
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

    if (fd < 0 || access("/sys/class/net/eth0", F_OK)) {
        _exit(0);
    }
    inet_pton(AF_INET, "10.0.2.2", &to.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    for (uint16_t seq = 1;; seq++) {
        memset(&msg, 0, sizeof(msg));
        msg.head.type = ICMP_ECHO;
        msg.head.un.echo.id = 0x4757;
        msg.head.un.echo.sequence = seq;
        msg.data[0] = seq;
        msg.head.checksum = checksum((uint16_t *)&msg, sizeof(msg) / 2);
        sendto(fd, &msg, sizeof(msg), 0, (struct sockaddr *)&to, sizeof(to));
        for (;;) {
            ssize_t n = recv(fd, reply, sizeof(reply), 0);
            struct icmphdr *head = (struct icmphdr *)(reply + 20);

            if (n < 0) {
                break;
            }
            if (n >= 28 && head->type == ICMP_ECHOREPLY && head->un.echo.sequence == seq) {
                atomic_fetch_add(&sh->net, 1);
                break;
            }
        }
        usleep(10000);
    }
}

static void spawn(void (*fn)(void))
{
    if (fork() == 0) {
        fn();
        _exit(0);
    }
}

static void report(int harts)
{
    uint64_t pass = UINT64_MAX, gap = 0;

    for (int h = 0; h < harts; h++) {
        uint64_t p = atomic_load(&sh->pass[h]), g = atomic_load(&sh->gap_ms[h]);

        pass = p < pass ? p : pass;
        gap = g > gap ? g : gap;
    }
    if (atomic_load(&sh->failed)) {
        printf("godwit-linux: FAIL %s\n", sh->why);
    } else {
        printf("godwit-linux: ok pass=%llu gap_ms=%llu disk=%llu net=%llu harts=%d up_ms=%llu\n",
               (unsigned long long)pass, (unsigned long long)gap,
               (unsigned long long)atomic_load(&sh->disk),
               (unsigned long long)atomic_load(&sh->net), harts, (unsigned long long)now_ms());
    }
    fflush(stdout);
}

int main(void)
{
    char cmdline[1024] = "";
    unsigned mib, sleep_ms;
    struct termios raw;
    int harts, fd;

    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    fd = open("/proc/cmdline", O_RDONLY);
    if (fd >= 0) {
        (void)!read(fd, cmdline, sizeof(cmdline) - 1);
        close(fd);
    }
    mib = strstr(cmdline, "gw.idle") ? 0 : option(cmdline, "gw.mem=", 8);
    sleep_ms = option(cmdline, "gw.sleep=", mib ? 1 : 50);
    sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    harts = sysconf(_SC_NPROCESSORS_ONLN);
    harts = harts > MAX_HARTS ? MAX_HARTS : harts;
    if (tcgetattr(0, &raw) == 0) {
        cfmakeraw(&raw);
        raw.c_oflag |= OPOST;
        tcsetattr(0, TCSANOW, &raw);
    }
    for (int h = 0; h < harts; h++) {
        if (fork() == 0) {
            memory_worker(h, mib, sleep_ms);
        }
    }
    spawn(disk_worker);
    spawn(net_worker);
    printf("godwit-linux: ready harts=%d\n", harts);
    fflush(stdout);
    for (;;) {
        char c = 0;

        if (read(0, &c, 1) == 1) {
            if (c == 'q') {
                sync();
                reboot(RB_POWER_OFF);
            }
            report(harts);
        } else {
            usleep(10000);
        }
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
}
