/*
 * winograd_reference.c - see winograd_reference.h.
 */
#include "tests/common/winograd_reference.h"

#include <math.h>

const struct winograd_set winograd_sets[WINOGRAD_SETS] = {
    {"real", &points_real, 21.8, 91, 361},
    {"imaginary", &points_imaginary, 6.0, 108, 429},
    {"roots", &points_roots, 2.4, 130, 517},
};

double line_at(const struct point_matrix *m, size_t line, size_t column)
{
    const size_t pair = line / 2, half = column / 2;
    const double even = (double)m->even[pair][half], odd = (double)m->odd[pair][half];
    if (pair == 0 && m->n < POINTS)
        return line == 0 ? (column == 0 ? (double)m->even[0][0] : 0)
                         : (column + 1 == m->n ? (double)m->odd[0][0] : 0);
    if (pair == 0 || pair > m->split)
        return (column % 2 == line % 2) ? (line % 2 ? odd : even) : 0;
    return column % 2 == 0 ? even : line % 2 ? -odd : odd;
}

double line_size(const struct point_matrix *m, size_t line, size_t column)
{
    double sum = fabs(line_at(m, line, column));
    for (size_t r = m->reals; r < POINTS; r++)
        if (m->imaginary[r] && (line == r || line == m->imaginary[r]))
            sum = fabs(line_at(m, r, column)) + fabs(line_at(m, m->imaginary[r], column));
    return sum;
}
