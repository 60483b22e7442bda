/* What a machine can do to a process that is started with this library in LD_PRELOAD. The file that FAULTS names is
 * mapped, so that a test changes it at any time: its first word, if it is not 0, makes every sync fail; its second is
 * how many seconds the wall clock is off; while its third is not 0, no sync returns. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *faults;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) {
        abort();
    }
    void *map = mmap(NULL, 24, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) {
        abort();
    }
    close(file);
    faults = map;
}

static int sync_file(long call, int file) {
    const struct timespec moment = {0, 10000000};
    while (faults && faults[2]) {
        nanosleep(&moment, NULL);
    }
    if (faults && faults[0]) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, file);
}

int fsync(int file) { return sync_file(SYS_fsync, file); }

int fdatasync(int file) { return sync_file(SYS_fdatasync, file); }

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = (int)syscall(SYS_clock_gettime, clock, time);
    if (!failed && faults && clock == CLOCK_REALTIME) {
        time->tv_sec += faults[1];
    }
    return failed;
}
