/*
 * split_numbers.c - how many numbers are read right as a whole: each picture goes the way
 * of /classify?split=1 without its HTTP.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/split/split.h"
#include "tests/accuracy/accuracy.h"
#include "tests/accuracy/numbers.h"

/* Of one layout and source. */
struct tally {
    size_t n, right;            /* whole texts */
    size_t digits, count_right; /* digits, and texts of as many as there are */
    size_t candidates;
    double ms, worst_ms; /* of decoding and cutting */
};

struct readings {
    size_t n;
    size_t winners[SPLIT_MOST_CANDIDATES];
    struct split_reading list[SPLIT_MOST_CANDIDATES];
};

static void take_reading(void *context, const struct reading *reading)
{
    struct readings *readings = context;
    struct split_reading *to = &readings->list[readings->n];
    readings->winners[readings->n++] = reading->winner;
    *to = (struct split_reading){.length = reading->lengths[reading->winner],
                                 .error = reading->error, .ink = reading->ink};
    for (size_t j = 0; j < CLASSES; j++)
        if (j != reading->winner)
            to->second = fmaxf(to->second, reading->lengths[j]);
}

/* What a picture is read as. */
static void read_text(struct lab *lab, const uint8_t *png, size_t nbytes, char text[NUMBERS_MOST],
                      struct tally *tally)
{
    static struct readings readings;
    size_t chosen[SPLIT_MOST_PIECES], n = 0;
    struct image_message message;
    struct image image;
    struct split split;
    const struct normalize_form form = normalize_whole(SIDE, SIDE, 1);
    const double start = now_ms();
    if (png_decode(&image, png, nbytes, 4096, 0, &message) != IMAGE_OK ||
        split_image(&split, &form, &image, &message) != IMAGE_OK)
        fail("a picture of a number could not be cut");
    const double ms = now_ms() - start;
    tally->ms += ms;
    tally->worst_ms = fmax(tally->worst_ms, ms);
    tally->candidates += split.n;
    image_free(&image);
    readings.n = 0;
    lab->batch.done = take_reading, lab->batch.context = &readings;
    for (size_t i = 0; i < split.n; i++)
        memcpy(batch_next(&lab->batch, 0), split.digits + i * SIDE * SIDE,
               SIDE * SIDE * sizeof(float));
    batch_flush(&lab->batch);
    const size_t count = split_choose(chosen, &split, readings.list);
    for (size_t i = 0; i < count && n + 2 < NUMBERS_MOST; i++) {
        if (i > 0 && split.candidates[chosen[i]].line != split.candidates[chosen[i - 1]].line)
            text[n++] = '\n';
        text[n++] = (char)('0' + readings.winners[chosen[i]]);
    }
    text[n] = 0;
    split_free(&split);
}

/* What was read wrongly: LAYOUT-SOURCE-I-WRITTEN-READ.png, '_' between lines. */
static void dump_number(const struct lab *lab, const struct numbers *numbers, const char *text,
                        size_t i, const uint8_t *png, size_t nbytes)
{
    char name[100];
    snprintf(name, sizeof name, "%zu-%s-%03zu-%s-%s.png", numbers->layout,
             numbers->mnist ? "mnist" : "strokes", i, numbers->text, text);
    for (char *c = name; *c; c++)
        *c = *c == '\n' ? '_' : *c;
    write_file(lab, name, png, nbytes);
}

static void measure_layout(struct lab *lab, size_t layout, int is_mnist)
{
    struct chance chance = {lab->seed * 7919 + layout * 31 + (size_t)is_mnist};
    struct numbers numbers = {.layout = layout, .mnist = is_mnist ? &lab->mnist : NULL};
    struct tally tally = {0};
    chance_bits(&chance);
    for (size_t i = 0; i < lab->images; i++) {
        char text[NUMBERS_MOST];
        size_t nbytes;
        uint8_t *png = numbers_make(&numbers, &chance, &nbytes);
        read_text(lab, png, nbytes, text, &tally);
        tally.n++;
        tally.right += strcmp(text, numbers.text) == 0;
        tally.count_right += strlen(text) == strlen(numbers.text);
        tally.digits += strlen(numbers.text);
        if (lab->dump && strcmp(text, numbers.text) != 0)
            dump_number(lab, &numbers, text, i, png, nbytes);
        free(png);
    }
    const double n = (double)tally.n;
    printf("| %-20s | %-11s | %5zu | %6.1f | %6.1f | %6.0f | %8.1f | %6.2f | %6.2f |\n",
           numbers_layout_name(layout), is_mnist ? "MNIST" : "own strokes", tally.n,
           100 * (double)tally.right / n, 100 * (double)tally.count_right / n,
           numbers_wanted(layout), (double)tally.candidates / (double)tally.digits, tally.ms / n,
           tally.worst_ms);
    fflush(stdout);
}

void measure_numbers(struct lab *lab)
{
    printf("\nNumbers of 1 to 8 digits, percent of whole texts: right; of as many digits as "
           "there are; wanted\n\n"
           "| layout               | digits of   | texts |  right |  count | wanted | read per |     ms |  worst |\n"
           "|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for (size_t layout = 0; layout < numbers_layouts(); layout++)
        for (int is_mnist = 1; is_mnist >= 0; is_mnist--)
            measure_layout(lab, layout, is_mnist);
}
