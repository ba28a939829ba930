/*
 * weights_files.h - from --weights to the files it stands for: a file stands for itself,
 * a folder for every *.safetensors in it that is not hidden, ordered by their names
 * without that ending, so that "a" comes before "a-b".
 */
#ifndef CAPSNETD_WEIGHTS_FILES_H
#define CAPSNETD_WEIGHTS_FILES_H

#include "model/capsnet.h"
#include "server/basics/options.h"

struct weights_files {
    char **paths; /* [n], in the order given; free with weights_files_free() */
    size_t n;
};

/* Lists the files; what is neither file nor folder is left for the loader to complain of.
 * Returns CAPSNET_OK with one file at least, CAPSNET_ERR_IO (a folder that cannot be read,
 * or that has none) or CAPSNET_ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status weights_files_list(struct weights_files *files,
                                                          const struct option_list *weights,
                                                          struct capsnet_error *error);

void weights_files_free(struct weights_files *files);

#endif
