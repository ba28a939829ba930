/*
 * safetensors_read.c - reading and checking the weights file.
 *
 * The reader trusts nothing: a file that passes here has valid UTF-8 strings,
 * known dtypes, shapes that fit their bytes, and tensors that tile the data
 * area exactly.  The strings belong to the parsed JSON tree, which the handle
 * keeps; the numbers stay in the mapping.
 */
#include "model/weights_file/safetensors.h"
#include "model/weights_file/file_error.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PREFIX_NBYTES = 8,
    HEADER_MAX_NBYTES = 100000000, /* the format's own limit */
    HEADER_MAX_DEPTH = 8,          /* a sound header nests 3 deep */
};

struct safetensors {
    void *map; /* NULL when the bytes are the caller's */
    size_t map_nbytes;
    cJSON *root;
    struct safetensors_tensor *tensors;
    size_t n_tensors;
    struct safetensors_metadata *metadata;
    size_t n_metadata;
};

/* ---- Header text ------------------------------------------------------ */

/* Length of the UTF-8 sequence at p (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF), or 0. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n == 0 || n > left || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

int safetensors_is_utf8(const char *text)
{
    size_t left = strlen(text), step = 1;
    for (; left && step; text += step, left -= step)
        step = utf8_length((const unsigned char *)text, left);
    return step != 0;
}

/* What cJSON lets through, or would take a deep stack for: bad UTF-8, control
 * characters, strings with a NUL inside, deep nesting. */
static enum capsnet_status check_text(const struct source *source, const unsigned char *text,
                                      size_t nbytes)
{
    size_t depth = 0, step;
    int in_string = 0;
    for (size_t i = 0; i < nbytes; i += step) {
        unsigned char c = text[i];
        step = utf8_length(text + i, nbytes - i);
        if (step == 0)
            return source_fail(source, CAPSNET_ERR_FORMAT, "the header is not UTF-8 at byte %zu",
                               i);
        if (c < 0x20 && (in_string || (c != '\n' && c != '\t' && c != '\r')))
            return source_fail(source, CAPSNET_ERR_FORMAT,
                               "the header has a control character at byte %zu", i);
        if (in_string && c == '\\') {
            if (nbytes - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
                return source_fail(source, CAPSNET_ERR_FORMAT,
                                   "the header has a NUL character in a string at byte %zu", i);
            /* The escaped character cannot end the string; if it is not ASCII
             * cJSON refuses it. */
            if (i + 1 < nbytes && text[i + 1] >= 0x20 && text[i + 1] < 0x80)
                step = 2;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '{' || c == '[')) {
            if (++depth > HEADER_MAX_DEPTH)
                return source_fail(source, CAPSNET_ERR_FORMAT,
                                   "the header nests deeper than %d levels at byte %zu",
                                   HEADER_MAX_DEPTH, i);
        } else if (!in_string && (c == '}' || c == ']')) {
            depth -= depth > 0;
        }
    }
    return CAPSNET_OK;
}

/* Parses the header's JSON object, which only spaces may follow. */
static enum capsnet_status parse_header(cJSON **root, const struct source *source,
                                        const unsigned char *text, size_t nbytes)
{
    if (nbytes == 0 || text[0] != '{')
        return source_fail(source, CAPSNET_ERR_FORMAT,
                           "the header does not begin with {; this is no safetensors file");
    enum capsnet_status status = check_text(source, text, nbytes);
    if (status)
        return status;
    const char *end = NULL;
    cJSON *parsed = cJSON_ParseWithLengthOpts((const char *)text, nbytes, &end, 0);
    size_t at = end ? (size_t)(end - (const char *)text) : 0;
    if (!parsed)
        return source_fail(source, CAPSNET_ERR_FORMAT, "the header is not valid JSON near byte %zu",
                           at);
    for (size_t i = at; i < nbytes; i++) {
        if (text[i] == ' ')
            continue;
        cJSON_Delete(parsed);
        return source_fail(source, CAPSNET_ERR_FORMAT,
                           "the header has something other than spaces after its JSON at byte %zu",
                           i);
    }
    *root = parsed;
    return CAPSNET_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Refuses an object that has one key twice. */
static enum capsnet_status check_unique(const struct source *source, const cJSON *object)
{
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, object)
        n++;
    const char **names = malloc((n + 1) * sizeof *names);
    if (!names)
        return source_fail(source, CAPSNET_ERR_MEMORY, "out of memory for %zu names", n);
    n = 0;
    cJSON_ArrayForEach(item, object)
        names[n++] = item->string;
    qsort(names, n, sizeof *names, compare_names);
    enum capsnet_status status = CAPSNET_OK;
    for (size_t i = 1; i < n && !status; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = source_fail(source, CAPSNET_ERR_FORMAT, "the header has \"%.100s\" twice",
                                 names[i]);
    free(names);
    return status;
}

/* ---- Tensors ---------------------------------------------------------- */

/* A JSON number that is a whole size.  2^53 bounds what a double counts
 * exactly.  Returns 1, or 0 when it is anything else. */
static int read_size(size_t *size, const cJSON *item)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 0x1p53))
        return 0;
    *size = (size_t)(uint64_t)item->valuedouble;
    return (double)*size == item->valuedouble;
}

static enum capsnet_status read_dtype(struct safetensors_tensor *tensor,
                                      const struct source *source, const cJSON *item)
{
    if (!cJSON_IsString(item))
        return source_fail(source, CAPSNET_ERR_FORMAT, "tensor \"%.100s\" has no dtype string",
                           tensor->name);
    if (safetensors_dtype_find(&tensor->dtype, item->valuestring))
        return CAPSNET_OK;
    return source_fail(source, CAPSNET_ERR_FORMAT,
                       "tensor \"%.100s\" has dtype \"%.20s\"; only F32, F16 and BF16 are known",
                       tensor->name, item->valuestring);
}

/* Reads the dimensions and multiplies them into tensor->count. */
static enum capsnet_status read_shape(struct safetensors_tensor *tensor,
                                      const struct source *source, const cJSON *array)
{
    if (!cJSON_IsArray(array))
        return source_fail(source, CAPSNET_ERR_FORMAT, "tensor \"%.100s\" has no shape array",
                           tensor->name);
    const cJSON *item;
    tensor->rank = 0;
    tensor->count = 1;
    cJSON_ArrayForEach(item, array) {
        if (tensor->rank == SAFETENSORS_MAX_RANK)
            return source_fail(source, CAPSNET_ERR_FORMAT,
                               "tensor \"%.100s\" has a shape of more than %d dimensions",
                               tensor->name, SAFETENSORS_MAX_RANK);
        size_t dim;
        if (!read_size(&dim, item))
            return source_fail(
                source, CAPSNET_ERR_FORMAT,
                "tensor \"%.100s\" has a shape whose dimension %zu is no whole number",
                tensor->name, tensor->rank);
        if (__builtin_mul_overflow(tensor->count, dim, &tensor->count))
            return source_fail(source, CAPSNET_ERR_FORMAT,
                               "tensor \"%.100s\" has a shape whose product overflows",
                               tensor->name);
        tensor->dims[tensor->rank++] = dim;
    }
    return CAPSNET_OK;
}

/* Reads the span of bytes, which must fit the shape and the data area. */
static enum capsnet_status read_span(struct safetensors_tensor *tensor,
                                     const struct source *source, const cJSON *array,
                                     const unsigned char *data, size_t data_nbytes)
{
    size_t begin, end, nbytes;
    if (!cJSON_IsArray(array) || cJSON_GetArraySize(array) != 2 ||
        !read_size(&begin, array->child) || !read_size(&end, array->child->next))
        return source_fail(source, CAPSNET_ERR_FORMAT,
                           "tensor \"%.100s\" has no data_offsets of two whole numbers",
                           tensor->name);
    if (begin > end)
        return source_fail(source, CAPSNET_ERR_FORMAT,
                           "tensor \"%.100s\" has data_offsets that run backwards, %zu to %zu",
                           tensor->name, begin, end);
    if (end > data_nbytes)
        return source_fail(
            source, CAPSNET_ERR_FORMAT,
            "tensor \"%.100s\" ends at byte %zu of the data, but the file has only %zu: "
            "it may be cut short",
            tensor->name, end, data_nbytes);
    if (__builtin_mul_overflow(tensor->count, safetensors_dtype_nbytes(tensor->dtype), &nbytes) ||
        nbytes != end - begin)
        return source_fail(
            source, CAPSNET_ERR_FORMAT,
            "tensor \"%.100s\" has %zu elements of %s, which do not fit its %zu bytes",
            tensor->name, tensor->count, safetensors_dtype_name(tensor->dtype), end - begin);
    tensor->data = data + begin;
    return CAPSNET_OK;
}

static enum capsnet_status read_tensor(struct safetensors_tensor *tensor,
                                       const struct source *source, const cJSON *item,
                                       const unsigned char *data, size_t data_nbytes)
{
    tensor->name = item->string;
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    if (!cJSON_IsObject(item))
        return source_fail(source, CAPSNET_ERR_FORMAT,
                           "tensor \"%.100s\" is not described by an object", tensor->name);
    enum capsnet_status status = read_dtype(tensor, source, dtype);
    if (!status)
        status = read_shape(tensor, source, shape);
    if (!status)
        status = read_span(tensor, source, offsets, data, data_nbytes);
    if (!status && cJSON_GetArraySize(item) != 3)
        status = source_fail(source, CAPSNET_ERR_FORMAT,
                             "tensor \"%.100s\" has fields besides dtype, shape and data_offsets",
                             tensor->name);
    return status;
}

static size_t tensor_nbytes(const struct safetensors_tensor *tensor)
{
    return tensor->count * safetensors_dtype_nbytes(tensor->dtype);
}

/* By place, then empty ones first. */
static int compare_places(const void *a, const void *b)
{
    const struct safetensors_tensor *x = *(const struct safetensors_tensor *const *)a;
    const struct safetensors_tensor *y = *(const struct safetensors_tensor *const *)b;
    size_t i = tensor_nbytes(x), j = tensor_nbytes(y);
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return (i > j) - (i < j);
}

/* The tensors must tile the data area: every byte belongs to exactly one. */
static enum capsnet_status check_tiling(const struct safetensors *file,
                                        const struct source *source, const unsigned char *data,
                                        size_t data_nbytes)
{
    size_t n = file->n_tensors, cursor = 0;
    const struct safetensors_tensor **order = malloc((n + 1) * sizeof *order);
    if (!order)
        return source_fail(source, CAPSNET_ERR_MEMORY, "out of memory for %zu tensors", n);
    for (size_t i = 0; i < n; i++)
        order[i] = &file->tensors[i];
    qsort(order, n, sizeof *order, compare_places);
    enum capsnet_status status = CAPSNET_OK;
    for (size_t i = 0; i < n && !status; i++) {
        size_t begin = (size_t)(order[i]->data - data);
        if (begin < cursor)
            status =
                source_fail(source, CAPSNET_ERR_FORMAT, "tensors \"%.100s\" and \"%.100s\" overlap",
                            order[i - 1]->name, order[i]->name);
        else if (begin > cursor)
            status = source_fail(source, CAPSNET_ERR_FORMAT,
                                 "bytes %zu to %zu of the data are a gap before tensor \"%.100s\"",
                                 cursor, begin, order[i]->name);
        cursor = begin + tensor_nbytes(order[i]);
    }
    if (!status && cursor != data_nbytes)
        status = source_fail(source, CAPSNET_ERR_FORMAT,
                             "%zu bytes follow the last tensor; they belong to none",
                             data_nbytes - cursor);
    free(order);
    return status;
}

/* ---- Reading ---------------------------------------------------------- */

static enum capsnet_status read_metadata(struct safetensors *file, const struct source *source,
                                         const cJSON *object)
{
    if (!cJSON_IsObject(object))
        return source_fail(source, CAPSNET_ERR_FORMAT, "__metadata__ is not an object");
    enum capsnet_status status = check_unique(source, object);
    if (status)
        return status;
    size_t n = (size_t)cJSON_GetArraySize(object);
    file->metadata = calloc(n + 1, sizeof *file->metadata);
    if (!file->metadata)
        return source_fail(source, CAPSNET_ERR_MEMORY, "out of memory for %zu metadata strings", n);
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        if (!cJSON_IsString(item))
            return source_fail(source, CAPSNET_ERR_FORMAT,
                               "__metadata__ has \"%.100s\", whose value is not a string",
                               item->string);
        file->metadata[file->n_metadata++] =
            (struct safetensors_metadata){item->string, item->valuestring};
    }
    return CAPSNET_OK;
}

static enum capsnet_status read_entries(struct safetensors *file, const struct source *source,
                                        const unsigned char *data, size_t data_nbytes)
{
    enum capsnet_status status = check_unique(source, file->root);
    if (status)
        return status;
    size_t n = (size_t)cJSON_GetArraySize(file->root);
    file->tensors = calloc(n + 1, sizeof *file->tensors);
    if (!file->tensors)
        return source_fail(source, CAPSNET_ERR_MEMORY, "out of memory for %zu tensors", n);
    const cJSON *item;
    cJSON_ArrayForEach(item, file->root) {
        if (strcmp(item->string, "__metadata__") == 0)
            status = read_metadata(file, source, item);
        else
            status = read_tensor(&file->tensors[file->n_tensors++], source, item, data,
                                 data_nbytes);
        if (status)
            return status;
    }
    return check_tiling(file, source, data, data_nbytes);
}

enum capsnet_status safetensors_parse(struct safetensors **file, const char *name,
                                      const void *bytes, size_t nbytes,
                                      struct capsnet_error *error)
{
    const struct source source = {name, error};
    const unsigned char *p = bytes;
    if (nbytes == 0)
        return source_fail(&source, CAPSNET_ERR_FORMAT, "the file is empty");
    if (nbytes < PREFIX_NBYTES)
        return source_fail(&source, CAPSNET_ERR_FORMAT,
                           "the file has only %zu bytes, too few for a safetensors file", nbytes);
    uint64_t header_nbytes = 0;
    for (size_t i = PREFIX_NBYTES; i-- > 0;)
        header_nbytes = header_nbytes << 8 | p[i];
    if (header_nbytes > HEADER_MAX_NBYTES)
        return source_fail(
            &source, CAPSNET_ERR_FORMAT,
            "the header length is %llu bytes, more than %d; this is no safetensors file",
            (unsigned long long)header_nbytes, HEADER_MAX_NBYTES);
    if (header_nbytes > nbytes - PREFIX_NBYTES)
        return source_fail(
            &source, CAPSNET_ERR_FORMAT,
            "the header length is %llu bytes, but only %zu follow: the file is cut short",
            (unsigned long long)header_nbytes, nbytes - PREFIX_NBYTES);

    struct safetensors *made = calloc(1, sizeof *made);
    if (!made)
        return source_fail(&source, CAPSNET_ERR_MEMORY, "out of memory");
    const unsigned char *header = p + PREFIX_NBYTES, *data = header + header_nbytes;
    enum capsnet_status status = parse_header(&made->root, &source, header, (size_t)header_nbytes);
    if (!status)
        status = read_entries(made, &source, data,
                              nbytes - PREFIX_NBYTES - (size_t)header_nbytes);
    if (status) {
        safetensors_close(made);
        return status;
    }
    *file = made;
    return CAPSNET_OK;
}

enum capsnet_status safetensors_open(struct safetensors **file, const char *path,
                                     struct capsnet_error *error)
{
    const struct source source = {path, error};
    enum capsnet_status status;
    struct stat info;
    void *map = MAP_FAILED;
    size_t nbytes = 0;
    /* O_NONBLOCK: a FIFO must be refused, not waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = source_fail(&source, CAPSNET_ERR_IO, "cannot open the file: %s", strerror(errno));
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        status = source_fail(&source, CAPSNET_ERR_IO, "this is %s, not a file",
                             S_ISDIR(info.st_mode) ? "a folder" : "a device, pipe or socket");
        goto out;
    }
    nbytes = (size_t)info.st_size;
    if (nbytes == 0) { /* which mmap would refuse */
        status = source_fail(&source, CAPSNET_ERR_FORMAT, "the file is empty");
        goto out;
    }
    map = mmap(NULL, nbytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
        status = source_fail(&source, CAPSNET_ERR_IO, "cannot map the file: %s", strerror(errno));
        goto out;
    }
    status = safetensors_parse(file, path, map, nbytes, error);
out:
    if (status && map != MAP_FAILED)
        munmap(map, nbytes);
    if (fd >= 0)
        close(fd);
    if (!status) {
        (*file)->map = map;
        (*file)->map_nbytes = nbytes;
    }
    return status;
}

void safetensors_close(struct safetensors *file)
{
    if (!file)
        return;
    cJSON_Delete(file->root);
    free(file->tensors);
    free(file->metadata);
    if (file->map)
        munmap(file->map, file->map_nbytes);
    free(file);
}

void safetensors_to_f32(const struct safetensors_tensor *tensor, float *dst)
{
    floats_read(dst, tensor->dtype, tensor->data, tensor->count);
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *file, size_t i)
{
    return i < file->n_tensors ? &file->tensors[i] : NULL;
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

const struct safetensors_metadata *safetensors_metadata_at(const struct safetensors *file, size_t i)
{
    return i < file->n_metadata ? &file->metadata[i] : NULL;
}

const char *safetensors_get_metadata(const struct safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}
