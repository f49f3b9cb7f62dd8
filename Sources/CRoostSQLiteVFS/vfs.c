#include "CRoostSQLiteVFS.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_FILES 64
#define MOST_CUTS 8192

// One write since the last sync; a truncation has no bytes.
typedef struct Pending {
    struct Pending *next;
    int64_t offset;
    int64_t count; // -1: truncate to offset
    unsigned char bytes[];
} Pending;

typedef struct {
    char path[1024];
    unsigned char *synced;
    int64_t size, room;
    Pending *first, **last;
} Track;

typedef struct {
    sqlite3_file base;
    Track *track;
    sqlite3_file *real;
} File;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sqlite3_vfs *real_vfs, vfs;
static sqlite3_io_methods methods;
static char prefix[1024], cut_directory[1024];
static Track *tracks[MOST_FILES];
static int track_count;
static int64_t noted_now, noted[MOST_CUTS];
static uint32_t cut_every, cut_most, cut_count, until_cut;
static uint64_t random_state, operations, fail_at;
static int fail_forever, fail_full, failed;

static uint64_t next_random(void) {
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static void *must(void *memory) {
    if (!memory) abort();
    return memory;
}

// The file as bytes, changed by one write, or by the first `count` bytes of it.
static void apply(unsigned char **bytes, int64_t *size, int64_t *room, const Pending *p, int64_t count) {
    int64_t end = p->count < 0 ? p->offset : p->offset + count;
    if (p->count < 0) {
        if (end < *size) *size = end;
        return;
    }
    if (end > *room) {
        *room = end * 2;
        *bytes = must(realloc(*bytes, (size_t)*room));
    }
    if (p->offset > *size) memset(*bytes + *size, 0, (size_t)(p->offset - *size));
    memcpy(*bytes + p->offset, p->bytes, (size_t)count);
    if (end > *size) *size = end;
}

static void drop_pending(Track *t) {
    for (Pending *p = t->first; p;) {
        Pending *next = p->next;
        free(p);
        p = next;
    }
    t->first = NULL;
    t->last = &t->first;
}

static void cut_file(Track *t) {
    int64_t size = t->size, room = t->size + 1;
    unsigned char *bytes = must(malloc((size_t)room));
    memcpy(bytes, t->synced, (size_t)size);
    // Some cuts lose nothing, some everything; most of them a share.
    uint64_t share = next_random() % 5;
    for (Pending *p = t->first; p; p = p->next) {
        if (next_random() % 4 >= share) continue;
        int64_t count = p->count;
        if (count > 0 && next_random() % 8 == 0) count = (int64_t)(next_random() % (uint64_t)count);
        apply(&bytes, &size, &room, p, count);
    }
    char path[2200];
    snprintf(path, sizeof path, "%s/%u-%s", cut_directory, cut_count, strrchr(t->path, '/') + 1);
    FILE *out = must(fopen(path, "wb"));
    if (fwrite(bytes, 1, (size_t)size, out) != (size_t)size) abort();
    if (fclose(out)) abort();
    free(bytes);
}

// Counts one operation: cuts if it is time, and answers whether it shall fail.
static int step(void) {
    operations++;
    if (cut_count < cut_most && cut_every && until_cut-- == 0) {
        for (int i = 0; i < track_count; i++) cut_file(tracks[i]);
        noted[cut_count++] = noted_now;
        until_cut = (uint32_t)(next_random() % (2 * cut_every));
    }
    int fails = fail_at && (operations == fail_at || (fail_forever && operations > fail_at));
    failed |= fails;
    return fails;
}

static void add_pending(Track *t, int64_t offset, const void *bytes, int64_t count) {
    Pending *p = must(malloc(sizeof *p + (count > 0 ? (size_t)count : 0)));
    p->next = NULL;
    p->offset = offset;
    p->count = count;
    if (count > 0) memcpy(p->bytes, bytes, (size_t)count);
    *t->last = p;
    t->last = &p->next;
}

static int x_close(sqlite3_file *f) {
    File *file = (File *)f;
    return file->real->pMethods ? file->real->pMethods->xClose(file->real) : SQLITE_OK;
}

static int x_read(sqlite3_file *f, void *to, int count, sqlite3_int64 offset) {
    File *file = (File *)f;
    return file->real->pMethods->xRead(file->real, to, count, offset);
}

static int x_write(sqlite3_file *f, const void *from, int count, sqlite3_int64 offset) {
    File *file = (File *)f;
    int code = SQLITE_OK;
    pthread_mutex_lock(&lock);
    if (file->track && step()) {
        // Half of it arrives: a disk that fills up or fails does not ask where a frame ends.
        code = fail_full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        count /= 2;
    }
    if (count > 0) {
        int real = file->real->pMethods->xWrite(file->real, from, count, offset);
        if (real != SQLITE_OK) code = real;
        else if (file->track) add_pending(file->track, offset, from, count);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static int x_truncate(sqlite3_file *f, sqlite3_int64 size) {
    File *file = (File *)f;
    int code;
    pthread_mutex_lock(&lock);
    if (file->track && step()) {
        code = SQLITE_IOERR_TRUNCATE;
    } else {
        code = file->real->pMethods->xTruncate(file->real, size);
        if (code == SQLITE_OK && file->track) add_pending(file->track, size, NULL, -1);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

// The real file is not synced: no power is really cut, and the test is a hundred times faster.
static int x_sync(sqlite3_file *f, int flags) {
    File *file = (File *)f;
    int code = SQLITE_OK;
    if (!file->track) return file->real->pMethods->xSync(file->real, flags);
    pthread_mutex_lock(&lock);
    if (step()) {
        code = SQLITE_IOERR_FSYNC;
    } else {
        Track *t = file->track;
        for (Pending *p = t->first; p; p = p->next) apply(&t->synced, &t->size, &t->room, p, p->count);
        drop_pending(t);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static int x_file_size(sqlite3_file *f, sqlite3_int64 *size) {
    File *file = (File *)f;
    return file->real->pMethods->xFileSize(file->real, size);
}

static int x_lock(sqlite3_file *f, int level) {
    File *file = (File *)f;
    return file->real->pMethods->xLock(file->real, level);
}

static int x_unlock(sqlite3_file *f, int level) {
    File *file = (File *)f;
    return file->real->pMethods->xUnlock(file->real, level);
}

static int x_check_reserved(sqlite3_file *f, int *out) {
    File *file = (File *)f;
    return file->real->pMethods->xCheckReservedLock(file->real, out);
}

static int x_control(sqlite3_file *f, int op, void *argument) {
    File *file = (File *)f;
    return file->real->pMethods->xFileControl(file->real, op, argument);
}

static int x_sector_size(sqlite3_file *f) {
    File *file = (File *)f;
    return file->real->pMethods->xSectorSize(file->real);
}

static int x_characteristics(sqlite3_file *f) {
    File *file = (File *)f;
    return file->real->pMethods->xDeviceCharacteristics(file->real);
}

static int x_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out) {
    File *file = (File *)f;
    return file->real->pMethods->xShmMap(file->real, page, size, extend, out);
}

static int x_shm_lock(sqlite3_file *f, int offset, int n, int flags) {
    File *file = (File *)f;
    return file->real->pMethods->xShmLock(file->real, offset, n, flags);
}

static void x_shm_barrier(sqlite3_file *f) {
    File *file = (File *)f;
    file->real->pMethods->xShmBarrier(file->real);
}

static int x_shm_unmap(sqlite3_file *f, int delete_flag) {
    File *file = (File *)f;
    return file->real->pMethods->xShmUnmap(file->real, delete_flag);
}

static Track *find(const char *path) {
    for (int i = 0; i < track_count; i++)
        if (!strcmp(tracks[i]->path, path)) return tracks[i];
    return NULL;
}

static int x_open(sqlite3_vfs *self, const char *name, sqlite3_file *f, int flags, int *out) {
    (void)self;
    File *file = (File *)f;
    memset(file, 0, sizeof *file);
    file->real = (sqlite3_file *)(file + 1);
    int code = real_vfs->xOpen(real_vfs, name, file->real, flags, out);
    if (!file->real->pMethods) return code;
    file->base.pMethods = &methods;
    int kinds = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL;
    pthread_mutex_lock(&lock);
    if (code == SQLITE_OK && name && prefix[0] && (flags & kinds)
        && !strncmp(name, prefix, strlen(prefix)) && strlen(name) < sizeof tracks[0]->path) {
        Track *t = find(name);
        if (!t) {
            if (track_count == MOST_FILES) abort();
            t = must(calloc(1, sizeof *t));
            strcpy(t->path, name);
            t->last = &t->first;
            t->synced = must(malloc(1));
            t->room = 1;
            // What was there before it was watched has been on the disk for long.
            FILE *in = fopen(name, "rb");
            if (in) {
                fseek(in, 0, SEEK_END);
                t->size = ftell(in);
                t->room = t->size + 1;
                t->synced = must(realloc(t->synced, (size_t)t->room));
                rewind(in);
                if (fread(t->synced, 1, (size_t)t->size, in) != (size_t)t->size) abort();
                fclose(in);
            }
            tracks[track_count++] = t;
        }
        file->track = t;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static int x_delete(sqlite3_vfs *self, const char *name, int sync_directory) {
    (void)self;
    pthread_mutex_lock(&lock);
    Track *t = find(name);
    if (t) {
        drop_pending(t);
        t->size = 0;
    }
    pthread_mutex_unlock(&lock);
    return real_vfs->xDelete(real_vfs, name, sync_directory);
}

int roost_vfs_install(void) {
    pthread_mutex_lock(&lock);
    int code = SQLITE_OK;
    if (!real_vfs) {
        real_vfs = sqlite3_vfs_find(NULL);
        vfs = *real_vfs;
        vfs.pNext = NULL;
        vfs.zName = "roost-power-cut";
        vfs.szOsFile = (int)sizeof(File) + real_vfs->szOsFile;
        vfs.xOpen = x_open;
        vfs.xDelete = x_delete;
        // Version 2: without the memory-mapped reads of version 3.
        methods = (sqlite3_io_methods){
            2, x_close, x_read, x_write, x_truncate, x_sync, x_file_size, x_lock, x_unlock,
            x_check_reserved, x_control, x_sector_size, x_characteristics, x_shm_map, x_shm_lock,
            x_shm_barrier, x_shm_unmap, NULL, NULL,
        };
        code = sqlite3_vfs_register(&vfs, 1);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

void roost_vfs_watch(const char *path) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < track_count; i++) {
        drop_pending(tracks[i]);
        free(tracks[i]->synced);
        free(tracks[i]);
    }
    track_count = 0;
    noted_now = 0;
    cut_every = cut_most = cut_count = 0;
    fail_at = 0;
    snprintf(prefix, sizeof prefix, "%s", path);
    pthread_mutex_unlock(&lock);
}

void roost_vfs_note(int64_t revision) {
    pthread_mutex_lock(&lock);
    if (revision > noted_now) noted_now = revision;
    pthread_mutex_unlock(&lock);
}

void roost_vfs_cut(const char *directory, uint32_t every, uint32_t most, uint64_t seed) {
    pthread_mutex_lock(&lock);
    snprintf(cut_directory, sizeof cut_directory, "%s", directory);
    random_state = seed;
    cut_every = every;
    cut_most = most < MOST_CUTS ? most : MOST_CUTS;
    cut_count = 0;
    until_cut = every;
    pthread_mutex_unlock(&lock);
}

uint32_t roost_vfs_cuts(void) {
    pthread_mutex_lock(&lock);
    uint32_t count = cut_count;
    pthread_mutex_unlock(&lock);
    return count;
}

int64_t roost_vfs_noted(uint32_t number) { return number < MOST_CUTS ? noted[number] : 0; }

void roost_vfs_fail(uint64_t at, int forever, int full) {
    pthread_mutex_lock(&lock);
    fail_at = at;
    fail_forever = forever;
    fail_full = full;
    failed = 0;
    operations = 0;
    pthread_mutex_unlock(&lock);
}

uint64_t roost_vfs_operations(void) {
    pthread_mutex_lock(&lock);
    uint64_t count = operations;
    pthread_mutex_unlock(&lock);
    return count;
}

int roost_vfs_failed(void) {
    pthread_mutex_lock(&lock);
    int answer = failed;
    pthread_mutex_unlock(&lock);
    return answer;
}
