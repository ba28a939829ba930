/*
 * batch.h - images of several jobs side by side: one forward pass, one decoding.
 *
 * A batch is one thread's at a time, who fills it and runs it.
 */
#ifndef CAPSNETD_BATCH_H
#define CAPSNETD_BATCH_H

#include <stdint.h>

#include "model/capsnet.h"
#include "server/basics/metrics.h"

/* What one request wants computed: n_images forward, then n_pictures decoded.
 * Either may be 0, not both.  All memory is the owner's and must last until
 * done() is called. */
struct job {
    size_t n_images;
    const float *digits; /* [n_images][height][width][channels] */
    float *lengths;      /* [n_images][classes], filled */
    float *poses;        /* [n_images][classes][pose_dims], filled */
    const struct capsnet_routing *routing; /* [n_images], what they point to filled; NULL:
                                              nobody asks */

    /* Called after the forward pass to fill picture_poses and picture_classes
     * from lengths and poses; NULL when they are filled already.  It may lower
     * n_pictures, to 0 too.  Must be quick: it runs on the thread that computes. */
    void (*choose)(struct job *job);
    size_t n_pictures;
    float *picture_poses;    /* [n_pictures][pose_dims] */
    size_t *picture_classes; /* [n_pictures] */
    float *pictures;         /* [n_pictures][height][width][channels], filled */

    /* The moment until which it must have been begun (clock_us()); 0: any.  Later
     * it is not computed, only done, with is_expired set. */
    int64_t expires_us;
    int is_expired;

    /* Called once, on the thread that computed, when all is filled; from then on
     * the batcher no longer touches the job.  Must be quick, but need not be when
     * is_alone says that the job, of one image and picture at most, had the
     * batch to itself, and that nobody waits for the next. */
    void (*done)(struct job *job);
    int is_alone;
    int is_here; /* that thread is its submitter's, in batcher_submit_or_run() */

    /* Filled: when it was submitted, first computed on, and done; clock_us(). */
    int64_t queued_us, started_us, done_us;

    /* The batcher's own. */
    struct job *next;
    size_t taken; /* images already in a batch */
};

/* A run of one job's images within a batch. */
struct slice {
    struct job *job;
    size_t first, count;
};

struct batch {
    struct capsnet_workspace *workspace;
    struct capsnet_shape shape;
    size_t pixels, max_images;
    struct model_metrics *metrics;

    struct slice *slices; /* [max_images], what is in it */
    size_t n_slices;
    float *images;  /* [max_images][pixels], what goes in; then, decoded, what comes out */
    float *lengths; /* [max_images][classes] */
    float *poses;   /* [max_images][classes][pose_dims]; then [max_images][pose_dims] to decode */
    const struct capsnet_routing **routing; /* [max_images]; NULL: the image's is not asked for */
    size_t *classes;                        /* [max_images], of the pictures */
    float **picture_targets;                /* [max_images], where each picture goes */
};

/* Makes room for that many images, to be computed by that many threads, and runs a first
 * pass, so that the first request is not the slow one.
 *
 * model      must outlive the batch
 * turns      that it shares with others; NULL: it has the CPUs to itself
 * is_beside  it has a part of the CPUs' threads (capsnet_workspace_share)
 * metrics    where its passes are counted; may be NULL
 *
 * batch_free() it, whatever is returned; a batch of zeros is freed, too. */
CAPSNET_MUST_CHECK enum capsnet_status
batch_init(struct batch *batch, const struct capsnet_model *model, size_t max_images,
           size_t threads, struct capsnet_turns *turns, int is_beside,
           struct model_metrics *metrics, struct capsnet_error *error);

void batch_free(struct batch *batch);

/* Computes all slices, between capsnet_turn_take() and capsnet_turn_give(): lengths and poses
 * of their images, and the pictures of the jobs whose last image is among them. */
void batch_run(struct batch *batch);

/* How long the next batch waits for those who were answered by one that took took_us. */
int64_t batch_company_us(int64_t took_us);

/* Is the slice's job done with it? */
int slice_is_last(const struct slice *slice);

#endif
