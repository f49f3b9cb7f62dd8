#include "include/CRoostLinux.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <sys/io.h>

// Source: QEMU, docs/specs/fw_cfg.rst.
enum { SELECTOR = 0x510, DATA = 0x511, SIGNATURE = 0 };

void roost_read_configuration(uint16_t key, uint8_t *bytes, size_t count) {
    outw(key, SELECTOR);
    for (size_t i = 0; i < count; i++) bytes[i] = inb(DATA);
}

void roost_close_configuration(void) { ioperm(SELECTOR, 2, 0); }

int roost_open_configuration(void) {
    if (ioperm(SELECTOR, 2, 1) < 0) return -errno;
    uint8_t signature[4];
    roost_read_configuration(SIGNATURE, signature, sizeof signature);
    if (memcmp(signature, "QEMU", sizeof signature) == 0) return 0;
    roost_close_configuration();
    return -ENODEV;
}
#else
void roost_read_configuration(uint16_t key, uint8_t *bytes, size_t count) {
    (void)key;
    memset(bytes, 0, count);
}

void roost_close_configuration(void) {}

int roost_open_configuration(void) { return -ENOSYS; }
#endif

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int roost_await_configuration(uint16_t key, const uint8_t *former, uint8_t *present, uint64_t nanoseconds) {
    const uint64_t begun = now();
    do {
        for (int look = 0; look < 8; look++) {
            roost_read_configuration(key, present, 16);
            if (memcmp(former, present, 16) != 0) return 1;
            // Each look at a port makes an emulated machine's other processors wait.
            for (int i = 0; i < 10000; i++) __asm__ volatile("");
        }
    } while (now() - begun < nanoseconds);
    return 0;
}
