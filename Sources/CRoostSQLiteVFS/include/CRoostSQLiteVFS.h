// A disk for SQLite that loses power and fails on demand. For tests only.
//
// It passes everything on to the default VFS, and keeps beside it what a disk would hold if the
// power went now: for each file the bytes of its last sync, and the writes since then.
// Only files whose path begins with the watched prefix are touched.
#ifndef ROOST_SQLITE_VFS_H
#define ROOST_SQLITE_VFS_H

#include <stdint.h>

// Registers the VFS as SQLite's default, once for the process. Answers an SQLite result code.
int roost_vfs_install(void);

// Forgets everything and watches files under `prefix` from now on.
void roost_vfs_watch(const char *prefix);

// Says that `revision` has been acknowledged; each cut remembers the highest.
void roost_vfs_note(int64_t revision);

// From now on cuts the power about every `every` operations, at most `most` times: writes what
// the disk then holds of PREFIX/name to `directory`/N-name, for N from 0. Unsynced writes are
// each kept, dropped or torn as `seed` decides. The watched files go on undisturbed.
void roost_vfs_cut(const char *directory, uint32_t every, uint32_t most, uint64_t seed);

// How many cuts there were, and the revision acknowledged before cut `number`.
uint32_t roost_vfs_cuts(void);
int64_t roost_vfs_noted(uint32_t number);

// Fails operation number `at` (from 1, counted from now) and, if `forever`, all that follow.
// `full`: a full disk refuses writes; otherwise an I/O error. `at` 0 ends it.
void roost_vfs_fail(uint64_t at, int forever, int full);

// Operations counted since roost_vfs_fail, and whether one was failed.
uint64_t roost_vfs_operations(void);
int roost_vfs_failed(void);

#endif
