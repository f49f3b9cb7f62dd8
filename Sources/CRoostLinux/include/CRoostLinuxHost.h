#ifndef CROOSTLINUX_HOST_H
#define CROOSTLINUX_HOST_H

// What the host side needs from the kernel and Swift's Glibc overlay does not offer.
// Every function returns a value >= 0, or -errno.

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

// How a child process is made. Strings and arrays belong to the caller and outlive the call.
struct roost_host_spawn {
    const char *path;
    char *const *argv;
    char *const *envp;
    // The child's descriptors 0 … fd_count-1; -1 means /dev/null. Every other one is closed.
    const int *fds;
    int fd_count;
    // A descriptor of the working directory.
    int cwd_fd;
    // Capabilities are dropped but for those in this mask (bit n: capability n).
    uint64_t capabilities;
    int drop_capabilities;
};

// What could not be applied, as bits in `left_out`.
#define ROOST_HOST_SPAWN_NO_CAPABILITY_DROP 1u

// Starts a process in a session of its own, with default signals, no core file and umask 077.
// Returns its pid and stores its pidfd.
int roost_host_spawn_process(const struct roost_host_spawn *how, int *pidfd, unsigned *left_out);

int roost_host_pidfd_open(int pid);
int roost_host_pidfd_signal(int pidfd, int signal);
// Reaps our child without blocking. Returns 1 and stores how it ended, or 0 while it runs.
// `code` is CLD_EXITED, CLD_KILLED or CLD_DUMPED, `status` the exit code or signal.
int roost_host_pidfd_reap(int pidfd, int *code, int *status);

// Gives the bytes of [0, end) back to the file system; the file keeps its size and offsets.
int roost_host_punch_head(int fd, int64_t end);
// The first offset at or after `from` that holds data; the file's size when there is none.
int64_t roost_host_seek_data(int fd, int64_t from);

// A non-blocking eventfd, closed on exec.
int roost_host_bell(void);
// Fills `bytes` from getrandom(2).
void roost_host_random(void *bytes, unsigned long count);
// renameat2(2) that never overwrites.
int roost_host_rename_new(const char *from, const char *to);
// 1 when `path` is on tmpfs, else 0.
int roost_host_is_tmpfs(const char *path);
// A descriptor that names a directory and can do nothing else (O_PATH).
int roost_host_open_folder(const char *path);

// Flags that Swift does not see through their macros.
extern const uint32_t roost_host_epoll_oneshot;
extern const uint32_t roost_host_epoll_in;
extern const uint32_t roost_host_epoll_out;

// Large blocks come from mmap(2) and go back to the kernel when freed: glibc raises that bound with the
// first large block, and an import then left its megabytes in the daemon for ever. And there are `arenas`
// heaps at most: glibc has eight a core, each of which keeps what its most crowded moment took.
void roost_host_bound_heap(int arenas);

#endif
