#define _GNU_SOURCE
#include <malloc.h>
#include "include/CRoostLinuxHost.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

const uint32_t roost_host_epoll_oneshot = EPOLLONESHOT;
const uint32_t roost_host_epoll_in = EPOLLIN | EPOLLRDHUP;
const uint32_t roost_host_epoll_out = EPOLLOUT;

struct child {
    const struct roost_host_spawn *how;
    int error;
    unsigned left_out;
};

// Descriptors are first moved above every target number, so that none is overwritten before use.
static int place_descriptors(const struct roost_host_spawn *how) {
    int moved[64];
    if (how->fd_count > 64) return EINVAL;
    int null_fd = -1;
    for (int i = 0; i < how->fd_count; i++) {
        int from = how->fds[i];
        if (from < 0) {
            if (null_fd < 0) null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
            if (null_fd < 0) return errno;
            from = null_fd;
        }
        moved[i] = fcntl(from, F_DUPFD_CLOEXEC, how->fd_count + 64);
        if (moved[i] < 0) return errno;
    }
    for (int i = 0; i < how->fd_count; i++)
        if (dup2(moved[i], i) < 0) return errno;
    // Everything else goes when the new program begins; closing it now would close `cwd_fd`.
    if (syscall(SYS_close_range, how->fd_count, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */) < 0)
        return errno;
    return 0;
}

static void drop_capabilities(struct child *child) {
    int failed = 0;
    for (int cap = 0; cap <= 63; cap++) {
        if (child->how->capabilities >> cap & 1) continue;
        if (prctl(PR_CAPBSET_READ, cap) == 1 && prctl(PR_CAPBSET_DROP, cap) != 0) failed = 1;
    }
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct now[2], kept[2];
    if (syscall(SYS_capget, &header, now) != 0) {
        failed = 1;
    } else {
        for (int i = 0; i < 2; i++) {
            uint32_t mask = (uint32_t)(child->how->capabilities >> (32 * i));
            kept[i].effective = now[i].effective & mask;
            kept[i].permitted = now[i].permitted & mask;
            kept[i].inheritable = 0;
        }
        header.pid = 0;
        if (syscall(SYS_capset, &header, kept) != 0) failed = 1;
    }
    // An ordinary user may not shrink the bounding set, and has nothing in it to lose.
    if (failed && geteuid() == 0) child->left_out |= ROOST_HOST_SPAWN_NO_CAPABILITY_DROP;
}

// Runs on the parent's memory until execve: system calls only.
static int run_child(void *argument) {
    struct child *child = argument;
    const struct roost_host_spawn *how = child->how;
    for (int number = 1; number < 65; number++) {
        if (number == SIGKILL || number == SIGSTOP) continue;
        struct sigaction action = {0};
        action.sa_handler = SIG_DFL;
        sigaction(number, &action, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (setsid() < 0) goto failed;
    if (fchdir(how->cwd_fd) < 0) goto failed;
    umask(077);
    struct rlimit core = {0, 0};
    setrlimit(RLIMIT_CORE, &core);
    int problem = place_descriptors(how);
    if (problem) {
        errno = problem;
        goto failed;
    }
    if (how->drop_capabilities) drop_capabilities(child);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    execve(how->path, how->argv, how->envp);
failed:
    child->error = errno;
    _exit(127);
}

int roost_host_spawn_process(const struct roost_host_spawn *how, int *pidfd, unsigned *left_out) {
    const size_t stack_size = 256 * 1024;
    char *stack = mmap(NULL, stack_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return -errno;
    struct child child = {how, 0, 0};
    // No handler of ours may run in the child, which shares our memory until execve.
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int fd = -1;
    int pid = clone(run_child, stack + stack_size,
                    CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &child, &fd);
    int clone_error = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    munmap(stack, stack_size);
    if (pid < 0) return -clone_error;
    if (child.error) {
        siginfo_t info;
        while (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0 && errno == EINTR) {}
        close(fd);
        return -child.error;
    }
    *pidfd = fd;
    *left_out = child.left_out;
    return pid;
}

int roost_host_pidfd_open(int pid) {
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

int roost_host_pidfd_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int roost_host_pidfd_reap(int pidfd, int *code, int *status) {
    siginfo_t info = {0};
    if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0) return -errno;
    if (info.si_pid == 0) return 0;
    *code = info.si_code;
    *status = info.si_status;
    return 1;
}

int roost_host_punch_head(int fd, int64_t end) {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, end) < 0 ? -errno : 0;
}

int64_t roost_host_seek_data(int fd, int64_t from) {
    off_t at = lseek(fd, from, SEEK_DATA);
    if (at >= 0) return at;
    if (errno != ENXIO) return -errno;
    struct stat state;
    return fstat(fd, &state) < 0 ? -errno : state.st_size;
}

int roost_host_bell(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

void roost_host_random(void *bytes, unsigned long count) {
    unsigned char *at = bytes;
    while (count > 0) {
        ssize_t got = getrandom(at, count, 0);
        if (got > 0) {
            at += got;
            count -= (unsigned long)got;
        } else if (errno != EINTR) {
            abort(); // No seccomp filter or kernel of ours refuses it; ids must not repeat.
        }
    }
}

int roost_host_rename_new(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

int roost_host_is_tmpfs(const char *path) {
    struct statfs state;
    return statfs(path, &state) == 0 && state.f_type == 0x01021994;
}

int roost_host_open_folder(const char *path) {
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void roost_host_bound_heap(int arenas) {
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    mallopt(M_ARENA_MAX, arenas);
}
