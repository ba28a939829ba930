/*
 * temp_folder.h - a folder of its own for a test, pictures and IDX files in it, and
 * capsnet-train run on them.  What goes wrong fails the test.
 */
#ifndef TEMP_FOLDER_H
#define TEMP_FOLDER_H

#include <stddef.h>
#include <stdint.h>

/* Makes an empty folder under TMPDIR; removes it with all that is in it.  Set-up and
 * tear-down of a cmocka test or group; state is not used, and 0 returned. */
int folder_create(void **state);
int folder_remove(void **state);

/* Empties it. */
void folder_clear(void);

/* The path of a name in it; a static buffer, one of four in turn. */
__attribute__((format(printf, 1, 2))) const char *in_folder(const char *format, ...);

/* Writes a file; the folders on the way are made. */
void put_file(const char *name, const void *bytes, size_t nbytes);
void put_folder(const char *name);

/* A PNG of one value (channels 1) or of r, g, b = value, value, blue (3). */
void put_png(const char *name, size_t width, size_t height, size_t channels, uint8_t value,
             uint8_t blue);

/* A PNG of these pixels [height][width]. */
void put_picture(const char *name, size_t width, size_t height, const uint8_t *pixels);

/* A pair of IDX files: images [n][height][width]. */
void put_idx(const char *prefix, size_t n, size_t height, size_t width, const uint8_t *pixels,
             const uint8_t *labels);

/* The whole file, malloc'd, with a 0 after it. */
uint8_t *get_file(const char *name, size_t *nbytes);

/* Runs BUILD/capsnet-train (BUILD from the environment, else build) with these
 * words, split at spaces, in the folder; its stdout and stderr go to output
 * [size].  Returns its exit status; fails the test if a signal ended it or it
 * took over two minutes. */
__attribute__((format(printf, 3, 4))) int run_trainer(char *output, size_t size,
                                                      const char *format, ...);

#endif
