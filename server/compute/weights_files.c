/* weights_files.c - see weights_files.h. */
#include "server/compute/weights_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char ENDING[] = ".safetensors";
enum { ENDING_N = sizeof ENDING - 1 };

/* The length of a name without its ending; 0 when it is no weights file's. */
static size_t stem(const char *name)
{
    const size_t n = strlen(name);
    const int is_weights =
        name[0] != '.' && n > ENDING_N && strcmp(name + n - ENDING_N, ENDING) == 0;
    return is_weights ? n - ENDING_N : 0;
}

static int is_weights(const struct dirent *entry)
{
    return stem(entry->d_name) > 0;
}

static int by_stem(const struct dirent **a, const struct dirent **b)
{
    const char *x = (*a)->d_name, *y = (*b)->d_name;
    const size_t n = stem(x), m = stem(y);
    const int order = memcmp(x, y, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

static enum capsnet_status no_memory(struct capsnet_error *error)
{
    strcpy(error->text, "out of memory while listing the weights");
    return CAPSNET_ERR_MEMORY;
}

/* Takes the path, which may be NULL for want of memory. */
static enum capsnet_status add(struct weights_files *files, char *path,
                               struct capsnet_error *error)
{
    char **paths = path ? realloc(files->paths, (files->n + 1) * sizeof *paths) : NULL;
    if (!paths) {
        free(path);
        return no_memory(error);
    }
    files->paths = paths;
    paths[files->n++] = path;
    return CAPSNET_OK;
}

static enum capsnet_status add_folder(struct weights_files *files, const char *folder,
                                      struct capsnet_error *error)
{
    struct dirent **entries;
    const int n = scandir(folder, &entries, is_weights, by_stem);
    if (n < 0 && errno == ENOMEM)
        return no_memory(error);
    if (n < 0) {
        snprintf(error->text, sizeof error->text, "%.200s: the folder cannot be read: %s", folder,
                 strerror(errno));
        return CAPSNET_ERR_IO;
    }
    enum capsnet_status status = CAPSNET_OK;
    for (int i = 0; i < n; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0)
            path = NULL;
        free(entries[i]);
        if (status == CAPSNET_OK)
            status = add(files, path, error);
        else
            free(path);
    }
    free(entries);
    if (n > 0)
        return status;
    snprintf(error->text, sizeof error->text, "%.200s: the folder holds no file named *%s",
             folder, ENDING);
    return CAPSNET_ERR_IO;
}

enum capsnet_status weights_files_list(struct weights_files *files,
                                       const struct option_list *weights,
                                       struct capsnet_error *error)
{
    struct weights_files found = {0};
    enum capsnet_status status = CAPSNET_OK;
    for (size_t i = 0; i < weights->n && status == CAPSNET_OK; i++) {
        struct stat about;
        char *path = strndup(weights->items[i].at, weights->items[i].nbytes);
        if (path && stat(path, &about) == 0 && S_ISDIR(about.st_mode)) {
            /* One slash between folder and file is enough. */
            for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
                path[n - 1] = 0;
            status = add_folder(&found, path, error);
            free(path);
        } else {
            status = add(&found, path, error);
        }
    }
    if (status == CAPSNET_OK)
        *files = found;
    else
        weights_files_free(&found);
    return status;
}

void weights_files_free(struct weights_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        free(files->paths[i]);
    free(files->paths);
    *files = (struct weights_files){0};
}
