/* batch.c - see batch.h. */
#include "server/compute/batch.h"

#include <stdlib.h>
#include <string.h>

#include "server/basics/clock.h"

/* Who was answered just now asks again soon, if his is a program that asks all
 * the time: after a batch, the next one waits until as many jobs are there as
 * were in the last one or waited behind it, but for no longer than this share of
 * the time that the last one took or, where that is more, than an answer and the
 * request that follows it are on their way.  It is never waited for after a pause,
 * or for a client who is alone. */
enum { COMPANY_SHARE = 3, RETURN_US = 200 };

int64_t batch_company_us(int64_t took_us)
{
    const int64_t share = took_us / COMPANY_SHARE;
    return share < RETURN_US ? RETURN_US : share;
}

int slice_is_last(const struct slice *s)
{
    return s->first + s->count >= s->job->n_images;
}

static void run_forward(struct batch *b)
{
    const size_t classes = b->shape.classes, pose = classes * b->shape.pose_dims;
    const int64_t start_ns = clock_ns();
    size_t n = 0;
    int is_asked = 0; /* how some image was routed */
    for (size_t i = 0; i < b->n_slices; i++) {
        const struct slice *s = &b->slices[i];
        const struct capsnet_routing *routing = s->job->routing;
        for (size_t k = 0; k < s->count; k++)
            b->routing[n + k] = routing ? routing + s->first + k : NULL;
        is_asked |= s->count && routing;
        if (s->count)
            memcpy(b->images + n * b->pixels, s->job->digits + s->first * b->pixels,
                   s->count * b->pixels * sizeof(float));
        n += s->count;
    }
    if (n == 0)
        return;
    const int64_t gathered_ns = clock_ns();
    capsnet_forward_routing(b->workspace, n, b->images, b->lengths, b->poses,
                            is_asked ? b->routing : NULL);
    const int64_t passed_ns = clock_ns();
    n = 0;
    for (size_t i = 0; i < b->n_slices; i++) {
        const struct slice *s = &b->slices[i];
        if (s->count) {
            memcpy(s->job->lengths + s->first * classes, b->lengths + n * classes,
                   s->count * classes * sizeof(float));
            memcpy(s->job->poses + s->first * pose, b->poses + n * pose,
                   s->count * pose * sizeof(float));
        }
        n += s->count;
    }
    metrics_count_batch(b->metrics, n,
                        &(struct batch_times){.input_ns = gathered_ns - start_ns,
                                              .infer_ns = passed_ns - gathered_ns,
                                              .output_ns = clock_ns() - passed_ns});
}

/* Decodes n gathered poses and deals the pictures out to their places. */
static void flush_pictures(struct batch *b, size_t n)
{
    if (n == 0)
        return;
    capsnet_decode(b->workspace, n, b->poses, b->classes, b->images);
    for (size_t i = 0; i < n; i++)
        memcpy(b->picture_targets[i], b->images + i * b->pixels, b->pixels * sizeof(float));
}

/* Decodes the pictures of every job whose last image was in this batch, full
 * batches across jobs. */
static void run_decode(struct batch *b)
{
    const size_t dims = b->shape.pose_dims;
    size_t n = 0;
    for (size_t i = 0; i < b->n_slices; i++) {
        struct job *job = b->slices[i].job;
        if (!slice_is_last(&b->slices[i]) || job->is_expired)
            continue;
        if (job->choose)
            job->choose(job);
        for (size_t k = 0; k < job->n_pictures; k++) {
            memcpy(b->poses + n * dims, job->picture_poses + k * dims, dims * sizeof(float));
            b->classes[n] = job->picture_classes[k];
            b->picture_targets[n++] = job->pictures + k * b->pixels;
            if (n == b->max_images) {
                flush_pictures(b, n);
                n = 0;
            }
        }
    }
    flush_pictures(b, n);
}

void batch_run(struct batch *b)
{
    run_forward(b);
    run_decode(b);
}

/* The first pass touches all memory and wakes all threads. */
static void warm_up(struct batch *b)
{
    memset(b->images, 0, b->max_images * b->pixels * sizeof(float));
    memset(b->classes, 0, b->max_images * sizeof *b->classes);
    capsnet_turn_take(b->workspace);
    capsnet_forward(b->workspace, 1, b->images, b->lengths, b->poses);
    capsnet_forward(b->workspace, b->max_images, b->images, b->lengths, b->poses);
    capsnet_decode(b->workspace, b->max_images, b->poses, b->classes, b->images);
    capsnet_turn_give(b->workspace);
}

enum capsnet_status batch_init(struct batch *b, const struct capsnet_model *model,
                               size_t max_images, size_t threads, struct capsnet_turns *turns,
                               int is_beside, struct model_metrics *metrics,
                               struct capsnet_error *error)
{
    *b = (struct batch){.shape = *capsnet_model_shape(model),
                        .max_images = max_images,
                        .metrics = metrics};
    b->pixels = capsnet_pixels(&b->shape);
    b->slices = calloc(max_images, sizeof *b->slices);
    b->images = calloc(max_images * b->pixels, sizeof(float));
    b->lengths = calloc(max_images * b->shape.classes, sizeof(float));
    b->poses = calloc(max_images * b->shape.classes * b->shape.pose_dims, sizeof(float));
    b->routing = calloc(max_images, sizeof *b->routing);
    b->classes = calloc(max_images, sizeof *b->classes);
    b->picture_targets = calloc(max_images, sizeof *b->picture_targets);
    if (!b->slices || !b->images || !b->lengths || !b->poses || !b->routing || !b->classes ||
        !b->picture_targets) {
        strcpy(error->text, "out of memory while preparing the batches");
        return CAPSNET_ERR_MEMORY;
    }
    const enum capsnet_status status =
        capsnet_workspace_create(&b->workspace, model, max_images, threads, error);
    if (status != CAPSNET_OK)
        return status;
    capsnet_workspace_share(b->workspace, turns, is_beside);
    warm_up(b);
    return CAPSNET_OK;
}

void batch_free(struct batch *b)
{
    capsnet_workspace_free(b->workspace);
    free(b->slices);
    free(b->images);
    free(b->lengths);
    free(b->poses);
    free(b->routing);
    free(b->classes);
    free(b->picture_targets);
    *b = (struct batch){0};
}
