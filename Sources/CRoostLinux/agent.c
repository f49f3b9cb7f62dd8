#define _GNU_SOURCE
#include "include/CRoostLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

const unsigned long ROOST_MS_RDONLY = MS_RDONLY, ROOST_MS_REMOUNT = MS_REMOUNT, ROOST_MS_MOVE = MS_MOVE,
    ROOST_MS_BIND = MS_BIND, ROOST_MS_NOSUID = MS_NOSUID, ROOST_MS_NODEV = MS_NODEV,
    ROOST_MS_NOEXEC = MS_NOEXEC;
const int ROOST_MNT_DETACH = MNT_DETACH;

static int outcome(long result) { return result < 0 ? -errno : (int)result; }

// The child's half. It shares the parent's memory until exec (vfork), so it may only make system
// calls and write to `failure`. Raw calls: glibc's setuid would signal the parent's threads.
__attribute__((noreturn)) static void become(const struct roost_spawn_request *r, volatile int *failure,
                                             volatile int *stage) {
    *stage = ROOST_SPAWN_FORK;
    struct sigaction standard;
    memset(&standard, 0, sizeof standard);
    standard.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL);
    if (setsid() < 0) goto failed;
    if (r->terminal && ioctl(r->input, TIOCSCTTY, 0) < 0) goto failed;
    if (dup2(r->input, 0) < 0 || dup2(r->output, 1) < 0 || dup2(r->error, 2) < 0) goto failed;
    if (syscall(SYS_close_range, 3u, ~0u, 0u) < 0)
        for (int fd = 3; fd < 1024; fd++) close(fd);
    umask(022);
    *stage = ROOST_SPAWN_USER;
    if (r->change_user) {
        if (syscall(SYS_setgroups, r->group_count, r->groups) < 0) goto failed;
        if (syscall(SYS_setresgid, r->gid, r->gid, r->gid) < 0) goto failed;
        if (syscall(SYS_setresuid, r->uid, r->uid, r->uid) < 0) goto failed;
    }
    *stage = ROOST_SPAWN_DIRECTORY;
    if (chdir(r->directory) < 0) goto failed;
    *stage = ROOST_SPAWN_EXEC;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int denied = 0;
    for (const char *const *path = r->candidates; *path; path++) {
        execve(*path, r->argv, r->envp);
        if (errno == EACCES) denied = 1;
        else if (errno != ENOENT && errno != ENOTDIR) goto failed;
    }
    errno = denied ? EACCES : ENOENT;
failed:
    *failure = errno;
    _exit(127);
}

int roost_spawn(const struct roost_spawn_request *request, int *stage) {
    volatile int failure = 0, at = ROOST_SPAWN_FORK;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = vfork();
    if (pid == 0) become(request, &failure, &at);
    int error = pid < 0 ? errno : failure;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    *stage = at;
    if (error == 0) return pid;
    if (pid > 0)
        while (syscall(SYS_wait4, pid, NULL, 0, NULL) < 0 && errno == EINTR) {}
    return -error;
}

int roost_open_terminal(uint16_t rows, uint16_t columns, int *master, int *slave) {
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -errno;
    int unlocked = 0, result;
    if (ioctl(fd, TIOCSPTLCK, &unlocked) < 0) goto failed;
    int peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (peer < 0) goto failed;
    roost_resize_terminal(fd, rows, columns);
    *master = fd;
    *slave = peer;
    return 0;
failed:
    result = -errno;
    close(fd);
    return result;
}

int roost_resize_terminal(int master, uint16_t rows, uint16_t columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return outcome(ioctl(master, TIOCSWINSZ, &size));
}

int roost_pipe(int *ends) { return outcome(pipe2(ends, O_CLOEXEC)); }

int roost_pidfd_open(int pid) { return outcome(syscall(SYS_pidfd_open, pid, O_NONBLOCK)); }

int roost_signal_descriptor(void) {
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGPWR);
    sigaddset(&wanted, SIGUSR1);
    sigaddset(&wanted, SIGUSR2);
    if (sigprocmask(SIG_BLOCK, &wanted, NULL) < 0) return -errno;
    return outcome(signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
}

int roost_next_signal(int descriptor) {
    struct signalfd_siginfo info;
    ssize_t count = read(descriptor, &info, sizeof info);
    if (count < 0) return -errno;
    return count == sizeof info ? (int)info.ssi_signo : -EIO;
}

void roost_ignore_signals(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTTIN, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
}

int roost_mount(const char *source, const char *target, const char *type, unsigned long flags,
                const char *options) {
    return outcome(mount(source, target, type, flags, options));
}

int roost_unmount(const char *target, int flags) { return outcome(umount2(target, flags)); }

int roost_load_module(int descriptor, const char *parameters) {
    return outcome(syscall(SYS_finit_module, descriptor, parameters, 0));
}

int roost_reboot(int again) { return outcome(reboot(again ? RB_AUTOBOOT : RB_POWER_OFF)); }
int roost_soft_cad(void) { return outcome(reboot(RB_DISABLE_CAD)); }

int roost_become_init(const char *path, char *const *argv, char *const *envp) {
    pid_t pid = fork();
    if (pid < 0) return -errno;
    if (pid == 0) {
        setsid();
        return 0;
    }
    execve(path, argv, envp);
    int error = errno;
    kill(pid, SIGKILL);
    return -error;
}

int roost_sync_child(void) {
    pid_t pid = fork();
    if (pid == 0) {
        sync();
        _exit(0);
    }
    return outcome(pid);
}

int roost_add_entropy(const uint8_t *bytes, size_t count) {
    if (count > 512) return -EINVAL;
    int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    union {
        struct rand_pool_info info;
        char room[sizeof(struct rand_pool_info) + 512];
    } pool;
    pool.info.entropy_count = (int)count * 8;
    pool.info.buf_size = (int)count;
    memcpy(pool.info.buf, bytes, count);
    int result = outcome(ioctl(fd, RNDADDENTROPY, &pool.info));
    explicit_bzero(&pool, sizeof pool);
    if (result >= 0) result = outcome(ioctl(fd, RNDRESEEDCRNG));
    close(fd);
    return result;
}

int roost_uevent_socket(void) {
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
    if (fd < 0) return -errno;
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

static int interface_request(const char *name, struct ifreq *request) {
    memset(request, 0, sizeof *request);
    if (strlen(name) >= IFNAMSIZ) return -EINVAL;
    strcpy(request->ifr_name, name);
    return outcome(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

int roost_link_up(const char *name) {
    struct ifreq request;
    int fd = interface_request(name, &request);
    if (fd < 0) return fd;
    int result = outcome(ioctl(fd, SIOCGIFFLAGS, &request));
    if (result >= 0) {
        request.ifr_flags |= IFF_UP | IFF_RUNNING;
        result = outcome(ioctl(fd, SIOCSIFFLAGS, &request));
    }
    close(fd);
    return result;
}

int roost_set_ethernet(const char *name, const uint8_t *address) {
    struct ifreq request;
    int fd = interface_request(name, &request);
    if (fd < 0) return fd;
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(request.ifr_hwaddr.sa_data, address, 6);
    int result = outcome(ioctl(fd, SIOCSIFHWADDR, &request));
    close(fd);
    return result;
}

int roost_set_address(const char *name, uint32_t address, int prefix) {
    struct ifreq request;
    if (prefix < 0 || prefix > 32) return -EINVAL;
    int fd = interface_request(name, &request);
    if (fd < 0) return fd;
    struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = address;
    int result = outcome(ioctl(fd, SIOCSIFADDR, &request));
    if (result >= 0) {
        in->sin_addr.s_addr = htonl(prefix == 0 ? 0 : ~0u << (32 - prefix));
        result = outcome(ioctl(fd, SIOCSIFNETMASK, &request));
    }
    close(fd);
    return result;
}

int roost_set_gateway(uint32_t gateway) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct rtentry route;
    memset(&route, 0, sizeof route);
    ((struct sockaddr_in *)&route.rt_dst)->sin_family = AF_INET;
    ((struct sockaddr_in *)&route.rt_genmask)->sin_family = AF_INET;
    route.rt_flags = RTF_UP;
    while (ioctl(fd, SIOCDELRT, &route) == 0) {}
    struct sockaddr_in *via = (struct sockaddr_in *)&route.rt_gateway;
    via->sin_family = AF_INET;
    via->sin_addr.s_addr = gateway;
    route.rt_flags = RTF_UP | RTF_GATEWAY;
    int result = outcome(ioctl(fd, SIOCADDRT, &route));
    close(fd);
    return result;
}

int roost_open_beneath(int directory, const char *path, int flags, uint32_t mode) {
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC),
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long result;
    do result = syscall(SYS_openat2, directory, path, &how, sizeof how);
    while (result < 0 && errno == EAGAIN);
    return outcome(result);
}

// Swift's runtime reads /proc/self/exe before main and aborts without it ("Unable to obtain Swift
// runtime path"), so process 1 of an initramfs needs /proc before any initialiser of Swift's runs.
__attribute__((constructor(101))) static void mount_proc_first(void) {
    if (getpid() != 1 || access("/proc/self/exe", F_OK) == 0) return;
    mkdir("/proc", 0755);
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
}

// From linux/fs.h, which cannot stand beside sys/mount.h here.
#define ROOST_BLKGETSIZE64 _IOR(0x12, 114, size_t)
#define ROOST_EXT4_RESIZE_FS _IOW('f', 16, uint64_t)

int roost_grow_ext4(const char *target, const char *device) {
    uint64_t bytes = 0;
    int disk = open(device, O_RDONLY | O_CLOEXEC);
    if (disk < 0) return -errno;
    int failed = ioctl(disk, ROOST_BLKGETSIZE64, &bytes) < 0 ? errno : 0;
    close(disk);
    if (failed) return -failed;
    struct statfs facts;
    if (statfs(target, &facts) < 0) return -errno;
    uint64_t blocks = bytes / (uint64_t)facts.f_bsize;
    // f_blocks leaves out the file system's own tables, at most a fiftieth of it.
    if (blocks <= (uint64_t)facts.f_blocks + (uint64_t)facts.f_blocks / 50 + 4096) return 0;
    int root = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return -errno;
    failed = ioctl(root, ROOST_EXT4_RESIZE_FS, &blocks) < 0 ? errno : 0;
    close(root);
    return failed ? -failed : 1;
}
