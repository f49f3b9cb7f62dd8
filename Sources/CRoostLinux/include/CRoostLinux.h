#ifndef CROOSTLINUX_H
#define CROOSTLINUX_H
#include "CRoostLinuxHost.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

// --- The guest agent. Every function returns 0 or a descriptor, or -errno. ---

// What roost_spawn starts. All pointers stay the caller's.
struct roost_spawn_request {
    const char *const *candidates; // paths to try in order, NULL at the end
    char *const *argv;             // NULL at the end
    char *const *envp;             // NULL at the end
    const char *directory;         // chdir(2) target
    uint32_t uid;
    uint32_t gid;
    const uint32_t *groups;
    size_t group_count;
    int change_user;               // 0: leave uid, gid and groups alone
    int input, output, error;      // descriptors above 2 that become 0, 1 and 2
    int terminal;                  // 1: `input` becomes the controlling terminal
};

// Which step of a spawn failed.
enum roost_spawn_stage { ROOST_SPAWN_FORK = 1, ROOST_SPAWN_USER, ROOST_SPAWN_DIRECTORY, ROOST_SPAWN_EXEC };

// Starts a process in a session of its own, with default signals and only 0, 1, 2 open. Returns its
// pid, or -errno with the failing step in *stage; then no process is left.
int roost_spawn(const struct roost_spawn_request *request, int *stage);

// Opens a pseudo-terminal of that size; both ends close on exec, the master does not block.
int roost_open_terminal(uint16_t rows, uint16_t columns, int *master, int *slave);
// pipe2(2) with O_CLOEXEC: the reading end, then the writing end.
int roost_pipe(int *ends);
int roost_resize_terminal(int master, uint16_t rows, uint16_t columns);

// A non-blocking descriptor that becomes readable when the process ends (pidfd_open(2)).
int roost_pidfd_open(int pid);
// Blocks SIGCHLD, SIGTERM, SIGINT and SIGPWR and returns a non-blocking signalfd(2) for them.
int roost_signal_descriptor(void);
// The next signal number, or -errno (-EAGAIN when there is none).
int roost_next_signal(int descriptor);
// Ignores SIGPIPE, SIGHUP, SIGTTIN and SIGTTOU in this process.
void roost_ignore_signals(void);

int roost_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options);
// Makes the mounted ext4 at `target` as large as its `device` (EXT4_IOC_RESIZE_FS). 1: it grew,
// 0: it was as large, else -errno.
int roost_grow_ext4(const char *target, const char *device);
int roost_unmount(const char *target, int flags);
extern const unsigned long ROOST_MS_RDONLY, ROOST_MS_REMOUNT, ROOST_MS_MOVE, ROOST_MS_BIND, ROOST_MS_NOSUID, ROOST_MS_NODEV, ROOST_MS_NOEXEC;
extern const int ROOST_MNT_DETACH;
int roost_load_module(int descriptor, const char *parameters);
// Powers off (0) or reboots (1) at once. Returns only on failure.
int roost_reboot(int again);
// Lets ctrl-alt-del be SIGINT to process 1.
int roost_soft_cad(void);
// Forks; the *caller's process* becomes `path`, the child returns 0 in a session of its own.
int roost_become_init(const char *path, char *const *argv, char *const *envp);
// Runs sync(2) in a child; returns its pid.
int roost_sync_child(void);

// Mixes bytes into the pool, credits them, and has the generator reseed (RNDADDENTROPY, RNDRESEEDCRNG).
int roost_add_entropy(const uint8_t *bytes, size_t count);

// QEMU's configuration device (fw_cfg), at I/O ports that a program reads without the kernel. Lets this thread
// use them (ioperm(2)), and what it forks, until it is closed; -ENODEV when nobody answers there, -ENOSYS on
// processors without I/O ports.
int roost_open_configuration(void);
void roost_close_configuration(void);
// The first `count` bytes of item `key`. Only while it is open.
void roost_read_configuration(uint16_t key, uint8_t *bytes, size_t count);
// Looks at the first 16 bytes of item `key` until they are others than `former`, for so many nanoseconds at
// most. 1: `present` has those others; 0: the time is over.
int roost_await_configuration(uint16_t key, const uint8_t *former, uint8_t *present, uint64_t nanoseconds);

// A netlink socket that hears of new devices.
int roost_uevent_socket(void);
// Brings an interface up (SIOCSIFFLAGS).
int roost_link_up(const char *name);
// Sets the Ethernet address of an interface, 6 bytes (SIOCSIFHWADDR).
int roost_set_ethernet(const char *name, const uint8_t *address);
// Sets the one IPv4 address (network order) and prefix of an interface.
int roost_set_address(const char *name, uint32_t address, int prefix);
// Sets the IPv4 default route; an earlier one is replaced.
int roost_set_gateway(uint32_t gateway);

// openat2(2) with RESOLVE_BENEATH|RESOLVE_NO_MAGICLINKS: never leaves the tree below `directory`.
int roost_open_beneath(int directory, const char *path, int flags, uint32_t mode);

#endif
