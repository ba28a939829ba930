/*
 * label.h - labels as they are shown: UTF-8, cut where there is no room.
 */
#ifndef CAPSNET_LABEL_H
#define CAPSNET_LABEL_H

#include <stddef.h>

/* Characters of a text. */
size_t label_length(const char *text);

/* Bytes of its first characters, at most that many of them. */
size_t label_nbytes(const char *text, size_t characters);

#endif
