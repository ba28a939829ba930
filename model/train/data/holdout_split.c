/*
 * holdout_split.c - see holdout_split.h.
 */
#include "model/train/data/holdout_split.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/train/data/random.h"

uint32_t *split_images(size_t n, size_t n_holdout)
{
    uint32_t *index = malloc((n + 1) * sizeof *index);
    for (size_t i = 0; index && i < n; i++)
        index[i] = (uint32_t)i;
    if (index && n_holdout)
        random_shuffle(index, n, random_stream(0, RANDOM_HOLDOUT, 0, 0));
    return index;
}

/* ---- By writer ------------------------------------------------------------ */

struct writer {
    uint32_t number;
    uint8_t series, is_held;
    size_t images;
};

static int by_number(const void *a, const void *b)
{
    const struct writer *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

/* The writers of the first n images, by number.  Returns how many; 0 when one is of
 * two series. */
static size_t list_writers(struct writer *list, const struct writers *w, size_t n,
                           struct capsnet_error *error)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        list[i] = (struct writer){w->writer[i], w->series[i], 0, 1};
    qsort(list, n, sizeof *list, by_number);
    for (size_t i = 0; i < n; i++) {
        struct writer *last = count ? &list[count - 1] : NULL;
        if (!last || last->number != list[i].number) {
            list[count++] = list[i];
            continue;
        }
        last->images++;
        if (last->series != list[i].series) {
            snprintf(error->text, sizeof error->text,
                     "--holdout-writers: writer %" PRIu32 " is of two series, %u and %u",
                     last->number, last->series, list[i].series);
            return 0;
        }
    }
    return count;
}

/* Marks writers in the order of their drawing, each while half of its images or
 * more are wanted of its series.  Returns how many images that is. */
static size_t mark_held(struct writer *list, const uint32_t *drawn, size_t n_writers, size_t share,
                        size_t held[WRITERS_MAX_SERIES])
{
    size_t images = 0;
    for (size_t i = 0; i < n_writers; i++) {
        struct writer *writer = &list[drawn[i]];
        if (held[writer->series] + writer->images / 2 >= share)
            continue;
        writer->is_held = 1;
        held[writer->series] += writer->images;
        images += writer->images;
    }
    return images;
}

/* Trained-on images first, held-out ones behind, both in the file's order. */
static void fill_index(uint32_t *index, const struct writers *w, size_t n,
                       const struct writer *list, size_t n_writers, size_t n_train)
{
    size_t next[2] = {0, n_train};
    for (size_t i = 0; i < n; i++) {
        const struct writer wanted = {.number = w->writer[i]};
        const struct writer *found = bsearch(&wanted, list, n_writers, sizeof *list, by_number);
        index[next[found->is_held]++] = (uint32_t)i;
    }
}

static enum capsnet_status check_shares(const struct writer *list, size_t n_writers,
                                        const size_t held[WRITERS_MAX_SERIES], size_t share,
                                        size_t wanted, struct capsnet_error *error)
{
    size_t there[WRITERS_MAX_SERIES] = {0};
    for (size_t i = 0; i < n_writers; i++)
        there[list[i].series] += list[i].images;
    for (size_t s = 0; s < WRITERS_MAX_SERIES; s++)
        if (there[s] && (there[s] <= share || there[s] == held[s])) {
            snprintf(error->text, sizeof error->text,
                     "--holdout %zu: that is %zu images of each series of writers, but series %zu "
                     "has %zu",
                     wanted, share, s, there[s]);
            return CAPSNET_ERR_ARGUMENT;
        }
    return CAPSNET_OK;
}

enum capsnet_status split_writers(uint32_t **index, size_t *n_holdout,
                                  const struct writers *writers, size_t n, size_t wanted,
                                  uint64_t seed, struct capsnet_error *error)
{
    size_t n_series = 0, held[WRITERS_MAX_SERIES] = {0};
    struct writer *list = calloc(n + 1, sizeof *list);
    uint32_t *made = malloc((n + 1) * sizeof *made); /* first the order of drawing */
    enum capsnet_status status = CAPSNET_ERR_MEMORY;
    if (!list || !made) {
        snprintf(error->text, sizeof error->text, "not enough memory to split %zu images", n);
        goto out;
    }
    const size_t n_writers = list_writers(list, writers, n, error);
    if (!n_writers) {
        status = CAPSNET_ERR_FORMAT;
        goto out;
    }
    uint8_t is_there[WRITERS_MAX_SERIES] = {0};
    for (size_t i = 0; i < n_writers; i++) {
        n_series += !is_there[list[i].series];
        is_there[list[i].series] = 1;
        made[i] = (uint32_t)i;
    }
    random_shuffle(made, n_writers, random_stream(seed, RANDOM_HOLDOUT, 0, 0));
    const size_t share = wanted / n_series;
    const size_t images = mark_held(list, made, n_writers, share, held);
    status = check_shares(list, n_writers, held, share, wanted, error);
    if (status != CAPSNET_OK)
        goto out;
    fill_index(made, writers, n, list, n_writers, n - images);
    *index = made;
    *n_holdout = images;
    made = NULL;
out:
    free(list);
    free(made);
    return status;
}

/* ---- In words -------------------------------------------------------------- */

void split_describe(char *text, size_t size, const struct split_record *r)
{
    char skipped[48] = "", by[80] = "";
    if (r->n_skipped)
        snprintf(skipped, sizeof skipped, ", %zu skipped", r->n_skipped);
    if (r->wanted)
        snprintf(by, sizeof by, " by writer, %zu wanted, seed %" PRIu64, r->wanted, r->seed);
    snprintf(text, size, "%zu trained on%s, %zu held out%s", r->n_train, skipped, r->n_holdout,
             by);
}

int split_parse(const char *text, struct split_record *record)
{
    struct split_record r = {0};
    int used = 0, end = 0;
    if (!text || sscanf(text, "%9zu trained on, %n", &r.n_train, &used) != 1 || !used)
        return 0;
    text += used;
    if (sscanf(text, "%9zu skipped, %n", &r.n_skipped, &end) == 1 && end)
        text += end;
    else
        r.n_skipped = 0;
    end = 0;
    if (sscanf(text, "%9zu held out%n", &r.n_holdout, &end) != 1 || !end)
        return 0;
    text += end;
    end = 0;
    if (*text &&
        (sscanf(text, " by writer, %9zu wanted, seed %10" SCNu64 "%n", &r.wanted, &r.seed, &end) != 2 ||
         text[end] || !r.wanted))
        return 0;
    *record = r;
    return 1;
}
