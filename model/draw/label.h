/*
 * label.h - labels as they are shown: UTF-8, cut where there is no room.
 */
#ifndef CAPSNET_LABEL_H
#define CAPSNET_LABEL_H

#include "model/capsnet.h"

/* Characters of a text. */
size_t label_length(const char *text);

/* Bytes of its first characters, at most that many of them. */
size_t label_nbytes(const char *text, size_t characters);

/* A class as pictures name it, in at most so many letters: its label, or its number, "#3",
 * where there are no letters to draw that with.  Returns text. */
const char *label_of_class(char text[64], const struct capsnet_model *model, size_t class_index,
                           size_t most);

#endif
