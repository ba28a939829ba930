/*
 * batcher.h - many requests, one forward pass: the queue between them.
 *
 * A job is admitted (one place in the queue), made ready by its owner, and
 * submitted; the batcher runs it and calls done().  See batcher.c.
 */
#ifndef CAPSNETD_BATCHER_H
#define CAPSNETD_BATCHER_H

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
     * n_pictures, to 0 too.  Must be quick: it runs on the batcher's thread. */
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

struct batcher;

/* Makes the workspace, runs a first pass so that the first request is not the
 * slow one, and starts the thread.
 *
 * model      must outlive the batcher
 * max_batch  most images in one pass; threads: that compute
 * queue      images that may wait
 * delay_us   how long a batch that is not full waits for more
 * turns      that it shares with other batchers; NULL: it has the CPUs to itself
 * metrics    where its batches are counted; may be NULL */
CAPSNET_MUST_CHECK enum capsnet_status
batcher_create(struct batcher **batcher, const struct capsnet_model *model, size_t max_batch,
               size_t threads, size_t queue, size_t delay_us, struct capsnet_turns *turns,
               struct model_metrics *metrics, struct capsnet_error *error);

/* Bytes of memory that its passes are computed in. */
size_t batcher_bytes(const struct batcher *batcher);

/* Images that wait now. */
size_t batcher_waiting(struct batcher *batcher);

/* Is the queue full just now?  A cheap look, before a body is read. */
int batcher_is_full(struct batcher *batcher);

/* Takes one place in the queue: 1, or 0 when it is full.  Every place taken
 * ends in a successful batcher_submit() or in batcher_withdraw(). */
CAPSNET_MUST_CHECK int batcher_admit(struct batcher *batcher);

/* Gives the place back: the request turned out to be a bad one. */
void batcher_withdraw(struct batcher *batcher);

/* Hands over an admitted job, which takes as many places as it has images.
 * 1, or 0 when the queue has filled up meanwhile: then the job is the owner's
 * again, who withdraws.  Thread-safe. */
CAPSNET_MUST_CHECK int batcher_submit(struct batcher *batcher, struct job *job);

/* The same, by a thread that may take its time: a job of one image for which nobody computes
 * and nothing is waited for is computed on this thread, which is sooner than the batcher's
 * is woken; it is done, and perhaps gone, when this returns. */
CAPSNET_MUST_CHECK int batcher_submit_or_run(struct batcher *batcher, struct job *job);

/* Finishes what was submitted, stops the thread, frees; NULL is ignored. */
void batcher_free(struct batcher *batcher);

#endif
