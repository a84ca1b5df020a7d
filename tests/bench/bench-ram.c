/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ram section alone, from one process to another over TCP on loopback: what the page path costs
 * without a machine around it.
 *
 *     bench-ram [random|zero|untouched|mixed] [MiB] [repetitions]
 *
 * Prints the median time from setup until the destination has everything, and the CPU seconds of
 * both ends.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "io/channel-socket.h"
#include "migration/ram/state.h"

typedef struct {
    RAMList *list;
    MigrationCounters counters;
} Side;

static RAMList *get_list(void *opaque)
{
    return ((Side *)opaque)->list;
}

static void get_options(void *opaque, RamOptions *out)
{
    *out = (RamOptions){0};
}

static MigrationCounters *get_counters(void *opaque)
{
    return &((Side *)opaque)->counters;
}

static RamPhase get_phase(void *opaque)
{
    return RAM_PHASE_PRECOPY;
}

static void get_live_options(void *opaque, RamLiveOptions *out)
{
    *out = (RamLiveOptions){0};
}

static void set_throttle(void *opaque, unsigned percent)
{
}

static void note_pass(void *opaque, uint64_t dirty_bytes)
{
}

static bool not_background(void *opaque)
{
    return false;
}

static RamSink *get_sink(void *opaque, GError **errp)
{
    return ram_sink_stream_new();
}

static RamPlacer *get_placer(void *opaque, RAMList *list, GError **errp)
{
    return ram_placer_direct_new(list);
}

static bool get_marker(void *opaque, bool flush, GError **errp)
{
    return true;
}

static uint32_t get_peer_features(void *opaque)
{
    return 0;
}

static RamState *side_new(Side *s, uint64_t size)
{
    RamEnv env = {
        .list = get_list,
        .options = get_options,
        .counters = get_counters,
        .background = not_background,
        .phase = get_phase,
        .live_options = get_live_options,
        .set_throttle = set_throttle,
        .note_pass = note_pass,
        .sink = get_sink,
        .placer = get_placer,
        .marker = get_marker,
        .peer_features = get_peer_features,
        .opaque = s,
    };

    s->list = ram_list_new();
    if (!ram_block_new_anon(s->list, "ram", size, RAM_MIGRATABLE, NULL)) {
        exit(1);
    }
    return ram_state_new(&env);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static QEMUFile *file_of(int fd, bool output)
{
    g_autoptr(QIOChannelSocket) ioc = io_channel_socket_new_fd(fd, NULL);

    return output ? qemu_file_new_output(IO_CHANNEL(ioc)) : qemu_file_new_input(IO_CHANNEL(ioc));
}

/* The child: load START, PARTs, END; report by one byte on @done. */
static void destination(int listener, int done, uint64_t size)
{
    Side side = {0};
    RamState *rs = side_new(&side, size);
    g_autoptr(GError) err = NULL;
    QEMUFile *f = file_of(accept(listener, NULL, NULL), false);
    const uint8_t *p;

    if (!ram_load_setup(f, rs, &err)) {
        exit(1);
    }
    while (qemu_peek_buffer(f, &p, 1)) {
        if (!ram_load_state(f, rs, 4, &err)) {
            fprintf(stderr, "load: %s\n", err->message);
            exit(1);
        }
    }
    exit(write(done, "", 1) != 1);
}

static double cpu_seconds(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + 1e-6 * (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void fill(RAMBlock *b, const char *kind)
{
    uint64_t x = 88172645463325252u;

    if (strcmp(kind, "untouched") == 0) {
        return;
    }
    memset(b->host, 0, b->used_length);
    for (uint64_t page = 0; page < ram_block_pages(b); page++) {
        uint64_t *w = (uint64_t *)(b->host + page * 4096);

        /* mixed: runs of one to a few dozen pages of data between zeros */
        if (strcmp(kind, "zero") == 0 || (strcmp(kind, "mixed") == 0 && (page / 7 * 37) % 5 == 0)) {
            continue;
        }
        for (int i = 0; i < 512; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            w[i] = x;
        }
    }
}

typedef struct {
    double seconds, source_cpu, destination_cpu;
} Result;

static Result run_once(RamState *rs, uint64_t size)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), done[2], fd;
    g_autoptr(GError) err = NULL;
    double cpu0, child0 = cpu_seconds(RUSAGE_CHILDREN);
    Result r;
    int64_t t0;
    QEMUFile *f;
    char c;
    pid_t pid;

    if (bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&addr, &len) || pipe(done)) {
        die("bench-ram");
    }
    pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        destination(listener, done[1], size);
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&addr, len)) {
        die("connect");
    }
    f = file_of(fd, true);
    cpu0 = cpu_seconds(RUSAGE_SELF);
    t0 = g_get_monotonic_time();
    if (!ram_save_setup(f, rs, &err)) {
        die("setup");
    }
    while (ram_save_iterate(f, rs, &err) == ITERATE_MORE) {
    }
    if (!ram_save_complete(f, rs, &err) || !qemu_fclose(f, &err)) {
        fprintf(stderr, "save: %s\n", err->message);
        exit(1);
    }
    if (read(done[0], &c, 1) != 1) {
        die("destination");
    }
    r.seconds = (g_get_monotonic_time() - t0) * 1e-6;
    r.source_cpu = cpu_seconds(RUSAGE_SELF) - cpu0;
    waitpid(pid, NULL, 0);
    r.destination_cpu = cpu_seconds(RUSAGE_CHILDREN) - child0;
    ram_save_cleanup(rs);
    close(listener);
    close(done[0]);
    close(done[1]);
    return r;
}

static int by_time(const void *a, const void *b)
{
    const Result *ra = a, *rb = b;

    return ra->seconds < rb->seconds ? -1 : ra->seconds > rb->seconds;
}

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "random";
    uint64_t size = (argc > 2 ? atoi(argv[2]) : 2048) * MiB;
    unsigned n = argc > 3 ? atoi(argv[3]) : 5;
    g_autofree Result *r = g_new0(Result, n);
    double gib = size / (double)GiB;
    Side side = {0};
    RamState *rs = side_new(&side, size);

    fill(ram_list_first(side.list), kind);
    for (unsigned i = 0; i < n; i++) {
        r[i] = run_once(rs, size);
    }
    qsort(r, n, sizeof(*r), by_time);
    printf("%-10s %5.1f GiB  median %7.1f ms  best %7.1f ms  %6.2f GiB/s  cpu s/GiB: source %.4f "
           "destination %.4f\n",
           kind, gib, r[n / 2].seconds * 1e3, r[0].seconds * 1e3, gib / r[n / 2].seconds,
           r[n / 2].source_cpu / gib, r[n / 2].destination_cpu / gib);
    return 0;
}
