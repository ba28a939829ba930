/* best_path.c - see split.h: which candidates read the picture best. */
#include <math.h>

#include "server/split/split.h"

/*
 * Which way of reading a picture is the likeliest is told by a conditional random field over
 * segments (Sarawagi and Cohen, "Semi-Markov conditional random fields", 2004): each
 * candidate has a score, a way the sum of its candidates' scores, and the best one is found by
 * dynamic programming.  The weights were found by maximising the likelihood of the right way on
 * 3,200 pictures of numbers made of MNIST's training digits and of strokes
 * (tests/accuracy/numbers.c), 2 to 7 candidates to a digit.
 */
#define SURE (-1.0)   /* by ln(1 - the capsule's length): a long capsule speaks for it */
#define SECOND (-2.4) /* by the length of the next: two digits in one */
#define ERROR (-6.2)  /* by the part of the ink that the reconstruction does not explain */
#define CUT (-0.13)   /* by what its cuts cost (cuts.h), */
#define SIDE (-1.35)  /* for each side on which it was cut, */
#define BOTH 2.0      /* and for both: where two digits touch, the next ones do */
#define LOW 5.7       /* by ln(height by the usual height), where it is less tall */
#define WIDE (-2.3)   /* by the square of its width by that height */
#define DROP (-2.6)   /* for a small piece that is left out as a speck, */
#define LOSS (-12.0)  /* and for one that is no speck: only where nothing else is left */

static double score_of(const struct split_candidate *candidate, const struct split_reading *reading)
{
    const double length = fmax(0.001, fmin(0.999, (double)reading->length));
    const double unexplained = (double)reading->error / fmax(1e-6, (double)reading->ink);
    const double wide = (double)candidate->wide;
    const int sides = (candidate->cut_left > 0) + (candidate->cut_right > 0);
    return SURE * log(1 - length) + SECOND * (double)reading->second + ERROR * unexplained +
           CUT * (double)(candidate->cut_left + candidate->cut_right) + SIDE * sides +
           (sides == 2 ? BOTH : 0) +
           LOW * fmin(0, log(fmax(0.05, (double)candidate->tall))) + WIDE * wide * wide;
}

size_t split_choose(size_t *chosen, const struct split *split,
                    const struct split_reading *readings)
{
    const size_t n = split->n_pieces;
    double best[SPLIT_MOST_PIECES + 1] = {0};
    size_t last[SPLIT_MOST_PIECES + 1]; /* 1 + candidate; 0: the piece was left out */
    size_t count = 0, at = 0;
    for (size_t end = 1; end <= n; end++) {
        best[end] = best[end - 1] + (split->may_drop[end - 1] ? DROP : LOSS);
        last[end] = 0;
        for (; at < split->n && split->candidates[at].end == end; at++) {
            const double score = best[split->candidates[at].first] +
                                 score_of(&split->candidates[at], &readings[at]);
            if (score > best[end]) {
                best[end] = score;
                last[end] = at + 1;
            }
        }
    }
    for (size_t end = n; end > 0;) {
        if (last[end] == 0) {
            end--;
            continue;
        }
        chosen[count++] = last[end] - 1;
        end = split->candidates[last[end] - 1].first;
    }
    for (size_t i = 0; i < count / 2; i++) {
        const size_t other = chosen[i];
        chosen[i] = chosen[count - 1 - i];
        chosen[count - 1 - i] = other;
    }
    return count;
}
