/*
 * batcher.c - the queue and the one thread that computes.
 *
 * Concurrency.  Any thread submits jobs; one thread at a time owns the workspace
 * and computes, which is what `is_computing` says: ours, or, where a single image is all
 * there is, the one that brings it, since to wake ours would take longer than all else
 * that is done for a request.  `lock` guards the list and the counts, and is never held
 * while computing.  The thread takes whatever waits, in order of arrival, up to
 * max_batch images; a job larger than what is left of a batch is spread over
 * several, and done when its last image is.  While it computes, the next batch
 * gathers by itself: the busier the server, the larger its batches.
 * Admission asks one question, "do fewer than `queue` images wait?", and lets
 * a request in whole, so that 64 images are served by a queue of any size.  It
 * is asked twice: before decoding, where a request counts as one image, and on
 * submission, where only submitted images count; thus at most queue - 1 + the
 * images of one request wait.  Images in a batch no longer count.
 * Each model has a batcher; they take turns (capsnet.h), and a batch is only taken when
 * its turn has come.
 */
#include "server/compute/batcher.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/basics/clock.h"

/* How long a batch waits for the requests that have arrived and are still being
 * decoded: as long as two workers need for 64 digits, so that a burst is one
 * batch, and one large picture does not hold up the others. */
enum { GATHER_US = 500 };

/* Who was answered just now asks again soon, if his is a program that asks all
 * the time: after a batch, the next one waits until as many jobs are there as
 * were in the last one or waited behind it, but for no longer than this share of
 * the time that the last one took or, where that is more, than an answer and the
 * request that follows it are on their way.  It is never waited for after a pause,
 * or for a client who is alone. */
enum { COMPANY_SHARE = 3, RETURN_US = 200 };

/* A run of one job's images within a batch. */
struct slice {
    struct job *job;
    size_t first, count;
};

struct batcher {
    struct capsnet_workspace *workspace;
    struct capsnet_shape shape;
    size_t pixels, max_batch, queue, delay_us;
    struct model_metrics *metrics;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *head, **tail;
    size_t admitted; /* requests that have not submitted or withdrawn yet */
    size_t listed;   /* images (or jobs without any) in the list */
    size_t jobs;     /* in the list */
    size_t goal;     /* jobs that the next batch waits for, */
    int64_t goal_us; /* until then */
    int is_computing; /* somebody has taken a batch, or is about to, and owns the workspace */
    int stopping;
    pthread_t thread;
    int started;

    /* Whose is_computing is: a batch side by side. */
    struct slice *slices; /* [max_batch] */
    size_t n_slices;
    float *images;   /* [max_batch][pixels], what goes in; then, decoded, what comes out */
    float *lengths;  /* [max_batch][classes] */
    float *poses;    /* [max_batch][classes][pose_dims]; then [max_batch][pose_dims] to decode */
    const struct capsnet_routing **routing; /* [max_batch]; NULL: the image's is not asked for */
    size_t *classes; /* [max_batch], of the pictures */
    float **picture_targets; /* [max_batch], where each picture goes */
};

/* A job without images still takes a place. */
static size_t places(const struct job *job)
{
    return job->n_images ? job->n_images : 1;
}

static void drop_head(struct batcher *b)
{
    b->head = b->head->next;
    b->jobs--;
    if (!b->head)
        b->tail = &b->head;
}

/* Moves jobs from the list into slices.  Called with the lock. */
static void take_batch(struct batcher *b)
{
    size_t room = b->max_batch;
    int64_t now = clock_us();
    b->n_slices = 0;
    while (b->head && room) {
        struct job *job = b->head;
        size_t left = places(job) - job->taken;
        if (job->taken == 0) {
            job->started_us = now;
            job->is_expired = job->expires_us && now >= job->expires_us;
        }
        if (job->is_expired) {
            /* Nothing of it is computed; it takes one slice, to be done. */
            b->slices[b->n_slices++] = (struct slice){job, job->n_images, 0};
            room--;
            b->listed -= left;
            drop_head(b);
            continue;
        }
        size_t count = left < room ? left : room;
        b->slices[b->n_slices++] =
            (struct slice){job, job->taken, job->n_images ? count : 0};
        job->taken += count;
        room -= count;
        b->listed -= count;
        if (count == left)
            drop_head(b);
    }
}

static void run_forward(struct batcher *b)
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

/* Is the job done with this slice? */
static int is_finished(const struct slice *s)
{
    return s->first + s->count >= s->job->n_images;
}

/* Decodes n gathered poses and deals the pictures out to their places. */
static void flush_pictures(struct batcher *b, size_t n)
{
    if (n == 0)
        return;
    capsnet_decode(b->workspace, n, b->poses, b->classes, b->images);
    for (size_t i = 0; i < n; i++)
        memcpy(b->picture_targets[i], b->images + i * b->pixels, b->pixels * sizeof(float));
}

/* Decodes the pictures of every job whose last image was in this batch, full
 * batches across jobs. */
static void run_decode(struct batcher *b)
{
    const size_t dims = b->shape.pose_dims;
    size_t n = 0;
    for (size_t i = 0; i < b->n_slices; i++) {
        struct job *job = b->slices[i].job;
        if (!is_finished(&b->slices[i]) || job->is_expired)
            continue;
        if (job->choose)
            job->choose(job);
        for (size_t k = 0; k < job->n_pictures; k++) {
            memcpy(b->poses + n * dims, job->picture_poses + k * dims, dims * sizeof(float));
            b->classes[n] = job->picture_classes[k];
            b->picture_targets[n++] = job->pictures + k * b->pixels;
            if (n == b->max_batch) {
                flush_pictures(b, n);
                n = 0;
            }
        }
    }
    flush_pictures(b, n);
}

/* Sets what the next batch waits for: before a job is done, whose client may then come again
 * and would be counted twice.  Returns whether the batch's one job is alone. */
static int set_goal(struct batcher *b, int64_t start, int64_t end)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_slices; i++)
        n += (size_t)is_finished(&b->slices[i]);
    pthread_mutex_lock(&b->lock);
    b->goal = n + b->jobs + b->admitted;
    const int64_t share = (end - start) / COMPANY_SHARE;
    b->goal_us = end + (share < RETURN_US ? RETURN_US : share);
    const int is_alone = b->n_slices == 1 && b->slices[0].count <= 1 &&
                         b->slices[0].job->n_pictures <= 1 && !b->head;
    pthread_mutex_unlock(&b->lock);
    return is_alone;
}

static void finish_jobs(struct batcher *b, int64_t now, int is_alone)
{
    for (size_t i = 0; i < b->n_slices; i++) {
        struct job *job = b->slices[i].job;
        if (!is_finished(&b->slices[i]))
            continue;
        job->done_us = now;
        job->is_alone = is_alone;
        job->done(job); /* the job may be gone after this */
    }
}

/* Until when a batch waits for more jobs; a moment that is past: for none.  Called with the
 * lock, with a job in the list. */
static int64_t waits_until(struct batcher *b, int64_t now)
{
    if (b->listed >= b->max_batch || b->stopping)
        return 0;
    const size_t delay_us = b->delay_us < GATHER_US && b->admitted ? GATHER_US : b->delay_us;
    const int64_t until = b->head->queued_us + (int64_t)delay_us;
    if (now >= b->goal_us)
        b->goal = 0;
    return b->jobs < b->goal && until < b->goal_us ? b->goal_us : until;
}

/* Waits until a batch is worth running.  Called with the lock; 0 to stop. */
static int wait_for_work(struct batcher *b)
{
    for (;;) {
        if (!b->head && !b->is_computing && b->stopping)
            return 0;
        if (!b->head || b->is_computing) {
            pthread_cond_wait(&b->changed, &b->lock);
            continue;
        }
        const int64_t now = clock_us(), until = waits_until(b, now);
        if (now >= until)
            return 1;
        struct timespec when = {until / 1000000, until % 1000000 * 1000};
        pthread_cond_timedwait(&b->changed, &b->lock, &when);
    }
}

/* Wakes the thread, if it waits, when there is news for it.  Called with the
 * lock, after `listed` or `admitted` has changed.  Who computes looks for himself. */
static void tell(struct batcher *b, int is_first)
{
    if (!b->is_computing &&
        (is_first || b->listed >= b->max_batch || (!b->admitted && b->jobs >= b->goal)))
        pthread_cond_signal(&b->changed);
}

/* Computes a batch of what waits.  Called with the lock, which it gives up meanwhile. */
static void run_batch(struct batcher *b)
{
    b->is_computing = 1;
    pthread_mutex_unlock(&b->lock);
    capsnet_turn_take(b->workspace); /* whoever comes meanwhile is in the batch, too */
    pthread_mutex_lock(&b->lock);
    take_batch(b);
    pthread_mutex_unlock(&b->lock);
    const int64_t start = clock_us();
    run_forward(b);
    run_decode(b);
    const int64_t end = clock_us();
    const int is_alone = set_goal(b, start, end);
    /* Before the turn is given: whose turn it is then may get this thread's CPU, too. */
    finish_jobs(b, end, is_alone);
    capsnet_turn_give(b->workspace);
    pthread_mutex_lock(&b->lock);
    b->is_computing = 0;
}

static void *work(void *argument)
{
    struct batcher *b = argument;
    pthread_setname_np(pthread_self(), "batcher");
    pthread_mutex_lock(&b->lock);
    while (wait_for_work(b))
        run_batch(b);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* The first pass touches all memory and wakes all threads. */
static void warm_up(struct batcher *b)
{
    memset(b->images, 0, b->max_batch * b->pixels * sizeof(float));
    memset(b->classes, 0, b->max_batch * sizeof *b->classes);
    capsnet_turn_take(b->workspace);
    capsnet_forward(b->workspace, 1, b->images, b->lengths, b->poses);
    capsnet_forward(b->workspace, b->max_batch, b->images, b->lengths, b->poses);
    capsnet_decode(b->workspace, b->max_batch, b->poses, b->classes, b->images);
    capsnet_turn_give(b->workspace);
}

enum capsnet_status batcher_create(struct batcher **batcher, const struct capsnet_model *model,
                                   size_t max_batch, size_t threads, size_t queue,
                                   size_t delay_us, struct capsnet_turns *turns,
                                   struct model_metrics *metrics, struct capsnet_error *error)
{
    enum capsnet_status status = CAPSNET_ERR_MEMORY;
    struct batcher *b = calloc(1, sizeof *b);
    if (!b)
        goto out;
    b->shape = *capsnet_model_shape(model);
    b->pixels = capsnet_pixels(&b->shape);
    b->max_batch = max_batch;
    b->queue = queue;
    b->delay_us = delay_us;
    b->metrics = metrics;
    b->tail = &b->head;
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&b->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);

    b->slices = calloc(max_batch, sizeof *b->slices);
    b->images = calloc(max_batch * b->pixels, sizeof(float));
    b->lengths = calloc(max_batch * b->shape.classes, sizeof(float));
    b->poses = calloc(max_batch * b->shape.classes * b->shape.pose_dims, sizeof(float));
    b->routing = calloc(max_batch, sizeof *b->routing);
    b->classes = calloc(max_batch, sizeof *b->classes);
    b->picture_targets = calloc(max_batch, sizeof *b->picture_targets);
    if (!b->slices || !b->images || !b->lengths || !b->poses || !b->routing || !b->classes ||
        !b->picture_targets)
        goto out;
    status = capsnet_workspace_create(&b->workspace, model, max_batch, threads, error);
    if (status != CAPSNET_OK) {
        batcher_free(b);
        return status;
    }
    capsnet_workspace_share(b->workspace, turns);
    warm_up(b);
    status = CAPSNET_ERR_MEMORY;
    if (pthread_create(&b->thread, NULL, work, b) == 0) {
        b->started = 1;
        *batcher = b;
        return CAPSNET_OK;
    }
out:
    batcher_free(b);
    strcpy(error->text, "out of memory while preparing the batches");
    return status;
}

int batcher_is_full(struct batcher *b)
{
    pthread_mutex_lock(&b->lock);
    int full = b->admitted + b->listed >= b->queue;
    pthread_mutex_unlock(&b->lock);
    return full;
}

size_t batcher_bytes(const struct batcher *batcher)
{
    return capsnet_workspace_bytes(batcher->workspace);
}

size_t batcher_waiting(struct batcher *b)
{
    pthread_mutex_lock(&b->lock);
    size_t waiting = b->listed;
    pthread_mutex_unlock(&b->lock);
    return waiting;
}

int batcher_admit(struct batcher *b)
{
    pthread_mutex_lock(&b->lock);
    int admitted = b->admitted + b->listed < b->queue;
    b->admitted += (size_t)admitted;
    pthread_mutex_unlock(&b->lock);
    return admitted;
}

void batcher_withdraw(struct batcher *b)
{
    pthread_mutex_lock(&b->lock);
    b->admitted--;
    tell(b, 0);
    pthread_mutex_unlock(&b->lock);
}

/* May whoever brought the only job that waits compute it?  Called with the lock. */
static int is_for_caller(struct batcher *b)
{
    const int64_t now = clock_us();
    return !b->is_computing && b->jobs == 1 && b->listed == 1 && !b->admitted &&
           now >= waits_until(b, now);
}

static int submit(struct batcher *b, struct job *job, int may_run)
{
    job->next = NULL;
    job->taken = 0;
    job->queued_us = clock_us();
    pthread_mutex_lock(&b->lock);
    int accepted = b->listed < b->queue;
    if (accepted) {
        int is_first = !b->head;
        b->admitted--;
        b->listed += places(job);
        b->jobs++;
        *b->tail = job;
        b->tail = &job->next;
        job->is_here = may_run && is_for_caller(b);
        if (job->is_here) {
            run_batch(b);
            is_first = b->head || b->stopping;
        }
        tell(b, is_first);
    }
    pthread_mutex_unlock(&b->lock); /* where nobody computes, the batcher may be gone after this */
    return accepted;
}

int batcher_submit(struct batcher *b, struct job *job)
{
    return submit(b, job, 0);
}

int batcher_submit_or_run(struct batcher *b, struct job *job)
{
    return submit(b, job, 1);
}

void batcher_free(struct batcher *b)
{
    if (!b)
        return;
    if (b->started) {
        pthread_mutex_lock(&b->lock);
        b->stopping = 1;
        pthread_cond_signal(&b->changed);
        pthread_mutex_unlock(&b->lock);
        pthread_join(b->thread, NULL);
    }
    capsnet_workspace_free(b->workspace);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    free(b->slices);
    free(b->images);
    free(b->lengths);
    free(b->poses);
    free(b->routing);
    free(b->classes);
    free(b->picture_targets);
    free(b);
}
