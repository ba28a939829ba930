/* split_text.c - the answer to split=1: which of a picture's candidates are its digits. */
#include "server/answers/answers.h"

static struct split_reading reading_of(const struct request *request, size_t i)
{
    const struct capsnet_shape *shape = request_shape(request);
    const struct job *job = &request->job;
    const float *lengths = job->lengths + i * shape->classes;
    const float *digit = job->digits + i * capsnet_pixels(shape);
    const size_t next = next_longest(lengths, shape->classes, job->picture_classes[i]);
    return (struct split_reading){
        .length = lengths[job->picture_classes[i]],
        .second = next < shape->classes ? lengths[next] : 0,
        .error = capsnet_pixel_error(shape, digit, job->pictures + i * capsnet_pixels(shape)),
        .ink = capsnet_ink(shape, digit),
    };
}

/* The labels of the digits, lines apart. */
static void add_text(struct text *text, const struct request *request, const struct split *split,
                     const size_t *chosen, size_t n, size_t first)
{
    struct text all = {0};
    for (size_t i = 0; i < n; i++) {
        const size_t winner = request->job.picture_classes[first + chosen[i]];
        if (i > 0 && split->candidates[chosen[i]].line != split->candidates[chosen[i - 1]].line)
            text_add(&all, "\n");
        text_add(&all, capsnet_model_label(request->engine->model, winner));
    }
    text_add(text, "{\"text\": ");
    json_add_string(text, n > 0 ? all.bytes : "");
    text->failed |= all.failed;
    text_free(&all);
}

void add_split_prediction(struct text *text, const struct request *request, size_t k, size_t first)
{
    const struct split *split = &request->splits[k];
    struct split_reading readings[SPLIT_MOST_CANDIDATES];
    size_t chosen[SPLIT_MOST_PIECES];
    for (size_t i = 0; i < split->n; i++)
        readings[i] = reading_of(request, first + i);
    const size_t n = split_choose(chosen, split, readings);
    add_text(text, request, split, chosen, n, first);
    text_add(text, ", \"digits\": [");
    for (size_t i = 0; i < n; i++) {
        text_add(text, i ? ",\n  " : "\n  ");
        add_prediction(text, request, first + chosen[i], &split->candidates[chosen[i]].box);
    }
    text_add(text, "]}");
}
