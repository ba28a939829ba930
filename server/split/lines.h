/*
 * lines.h - what of a picture's blots of ink is writing, and in which line it stands.
 * Used by split.c alone.
 */
#ifndef CAPSNETD_LINES_H
#define CAPSNETD_LINES_H

#include "server/normalize/blots.h"

/* A blot that is, or is part of, one digit or several. */
struct part {
    size_t blot;    /* its index */
    struct box box;
    double height;  /* of its writing: a slanting row of touching digits is taller */
    int is_small;   /* a piece of a broken digit, or a speck */
    size_t line;    /* 0 is the topmost */
};

/* The height that is usual among the blots' digits, by their ink.  0 when there is none. */
double lines_height(const struct blots *blots, const struct ink *ink);

/* Finds the parts among the blots, and their lines.  parts: [most].  Returns how many there
 * are, or most + 1 when more. */
size_t lines_find(struct part *parts, size_t most, const struct blots *blots, const struct ink *ink,
                  double height);

#endif
