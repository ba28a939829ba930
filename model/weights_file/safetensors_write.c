/*
 * safetensors_write.c - writing the weights file, so that a reader never sees half
 * of one.
 */
#include "model/weights_file/safetensors.h"
#include "model/weights_file/file_error.h"
#include "model/weights_file/link_target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PREFIX_NBYTES = 8,
    CHUNK = 4096, /* numbers converted between two writes */
};

static void print_string(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20)
            fprintf(out, "\\u%04x", *p);
        else if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else
            putc(*p, out);
    }
    putc('"', out);
}

static size_t entry_count(const struct safetensors_entry *entry)
{
    size_t count = 1;
    for (size_t i = 0; i < entry->rank; i++)
        count *= entry->dims[i];
    return count;
}

/* Makes the header, padded so that the data begins 8-byte aligned.  *header is
 * malloc'd.  Returns 1, or 0 when out of memory. */
static int make_header(char **header, size_t *header_nbytes,
                       const struct safetensors_entry *entries, size_t n_entries,
                       const struct safetensors_metadata *metadata, size_t n_metadata)
{
    *header = NULL;
    FILE *out = open_memstream(header, header_nbytes);
    if (!out)
        return 0;
    putc('{', out);
    const char *comma = "";
    if (n_metadata > 0) {
        fputs("\"__metadata__\":{", out);
        for (size_t i = 0; i < n_metadata; i++) {
            fputs(i ? "," : "", out);
            print_string(out, metadata[i].key);
            putc(':', out);
            print_string(out, metadata[i].value);
        }
        putc('}', out);
        comma = ",";
    }
    size_t offset = 0;
    for (size_t i = 0; i < n_entries; i++, comma = ",") {
        const struct safetensors_entry *entry = &entries[i];
        fputs(comma, out);
        print_string(out, entry->name);
        fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", safetensors_dtype_name(entry->dtype));
        for (size_t k = 0; k < entry->rank; k++)
            fprintf(out, "%s%zu", k ? "," : "", entry->dims[k]);
        size_t end = offset + entry_count(entry) * safetensors_dtype_nbytes(entry->dtype);
        fprintf(out, "],\"data_offsets\":[%zu,%zu]}", offset, end);
        offset = end;
    }
    putc('}', out);
    fflush(out);
    fprintf(out, "%*s", (int)(-*header_nbytes % 8), "");
    int failed = ferror(out);
    return fclose(out) == 0 && !failed;
}

static int write_entry(FILE *out, const struct safetensors_entry *entry)
{
    unsigned char bytes[CHUNK * 4];
    const size_t count = entry_count(entry);
    for (size_t i = 0; i < count; i += CHUNK) {
        const size_t left = count - i;
        const size_t nbytes =
            floats_write(bytes, entry->dtype, entry->data + i, left < CHUNK ? left : CHUNK);
        if (fwrite(bytes, 1, nbytes, out) != nbytes)
            return 0;
    }
    return 1;
}

/* Writes and syncs the whole file.  Returns 1, or 0 with errno. */
static int write_file(const char *path, const char *header, size_t header_nbytes,
                      const struct safetensors_entry *entries, size_t n_entries)
{
    unlink(path); /* left by a crash of a process that had our number */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!out) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    unsigned char prefix[PREFIX_NBYTES];
    for (size_t i = 0; i < PREFIX_NBYTES; i++)
        prefix[i] = (unsigned char)((uint64_t)header_nbytes >> 8 * i);
    int ok = fwrite(prefix, 1, sizeof prefix, out) == sizeof prefix &&
             fwrite(header, 1, header_nbytes, out) == header_nbytes;
    for (size_t i = 0; i < n_entries && ok; i++)
        ok = write_entry(out, &entries[i]);
    ok = ok && fflush(out) == 0 && fsync(fd) == 0;
    int saved = errno;
    if (fclose(out) != 0 && ok)
        return 0;
    errno = saved;
    return ok;
}

/* Opens the folder that path lies in, to sync it.  Returns -1 with errno. */
static int open_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = !slash ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int saved = errno;
    free(folder);
    errno = saved;
    return fd;
}

enum capsnet_status safetensors_write(const char *path, const struct safetensors_entry *entries,
                                      size_t n_entries,
                                      const struct safetensors_metadata *metadata,
                                      size_t n_metadata, struct capsnet_error *error)
{
    const struct source source = {path, error};
    enum capsnet_status status = CAPSNET_OK;
    char *header = NULL, *temporary = NULL, *target = link_target(path);
    size_t header_nbytes = 0;
    int folder = -1;
    if (!target) {
        status = source_fail(&source, CAPSNET_ERR_IO, "cannot follow the link: %s", strerror(errno));
        goto out;
    }
    if (!make_header(&header, &header_nbytes, entries, n_entries, metadata, n_metadata) ||
        asprintf(&temporary, "%s.tmp-%ld", target, (long)getpid()) < 0) {
        temporary = NULL; /* asprintf leaves it undefined */
        status = source_fail(&source, CAPSNET_ERR_MEMORY, "out of memory for the header");
        goto out;
    }
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
        status = source_fail(&source, CAPSNET_ERR_IO,
                             "this is a device or the like, which a file would replace");
        goto out;
    }
    folder = open_folder(target);
    if (folder < 0) {
        status =
            source_fail(&source, CAPSNET_ERR_IO, "cannot open the folder: %s", strerror(errno));
        goto out;
    }
    if (!write_file(temporary, header, header_nbytes, entries, n_entries) ||
        rename(temporary, target) != 0) {
        status = source_fail(&source, CAPSNET_ERR_IO, "cannot write the file: %s", strerror(errno));
        unlink(temporary);
        goto out;
    }
    /* Some file systems cannot sync a folder (EINVAL); then there is nothing to do. */
    if (fsync(folder) != 0 && errno != EINVAL)
        status = source_fail(&source, CAPSNET_ERR_IO,
                             "the file is written, but its folder cannot be synced: %s",
                             strerror(errno));
out:
    if (folder >= 0)
        close(folder);
    free(target);
    free(temporary);
    free(header);
    return status;
}
