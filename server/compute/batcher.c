/*
 * batcher.c - the queue, the one thread that computes what lies there, and the lanes.
 *
 * Small pictures are mostly not queued (batcher_admit_here): the network thread that read them
 * computes them, beside the other network threads, on its lane, which is a batch and a part of
 * the threads; or with all threads, on the team, where one client alone asks.  The rest of this
 * is about the queue.
 * Concurrency.  Any thread submits jobs; one thread at a time owns the team
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
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "server/basics/clock.h"

/* How long a batch waits for the requests that have arrived and are still being
 * decoded: as long as two workers need for 64 digits, so that a burst is one
 * batch, and one large picture does not hold up the others. */
enum { GATHER_US = 500 };

/* One a thread, while these are few. */
enum { MAX_LANES = 4 };

/* For so long after two requests met, those of a network thread have its own lane only:
 * the next two of these clients will meet, too. */
enum { CROWD_US = 3000 };

/* How many requests a network thread may have where more are not for it; and for how long it may
 * compute at a time, while its other connections wait. */
enum { FEW = 8, HOLD_US = 4000 };

struct batcher {
    size_t max_batch, queue, delay_us;
    int is_direct; /* batches of many are computed directly: an image costs the same in any */
    size_t lane_size; /* images that a lane takes at a time */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *head, **tail;
    size_t admitted; /* requests that have not submitted or withdrawn yet */
    size_t gathered; /* those that a network thread is to compute itself, likewise */
    size_t listed;   /* images (or jobs without any) in the list */
    size_t jobs;     /* in the list */
    size_t goal;     /* jobs that the next batch waits for, */
    int64_t goal_us; /* until then */
    int is_computing; /* somebody has taken a batch, or is about to, and owns `team` */
    int is_lent;      /* that is a network thread, alone */
    size_t lanes_busy;
    int64_t crowded_us; /* until then it takes several clients for granted */
    int64_t image_us;   /* what an image takes a lane, by the last batch */
    _Atomic int64_t asked_us;
    int stopping;
    pthread_t thread;
    int started;

    struct batch team; /* whose is_computing is: of all threads */
    size_t n_lanes;
    struct batch lanes[]; /* [n_lanes], each its network thread's: of a part of the threads */
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
    struct batch *batch = &b->team;
    size_t room = b->max_batch;
    int64_t now = clock_us();
    batch->n_slices = 0;
    while (b->head && room) {
        struct job *job = b->head;
        size_t left = places(job) - job->taken;
        if (job->taken == 0) {
            job->started_us = now;
            job->is_expired = job->expires_us && now >= job->expires_us;
        }
        if (job->is_expired) {
            /* Nothing of it is computed; it takes one slice, to be done. */
            batch->slices[batch->n_slices++] = (struct slice){job, job->n_images, 0};
            room--;
            b->listed -= left;
            drop_head(b);
            continue;
        }
        size_t count = left < room ? left : room;
        batch->slices[batch->n_slices++] =
            (struct slice){job, job->taken, job->n_images ? count : 0};
        job->taken += count;
        room -= count;
        b->listed -= count;
        if (count == left)
            drop_head(b);
    }
}

/* Sets what the next batch waits for: before a job is done, whose client may then come again
 * and would be counted twice.  Returns whether the batch's one job is alone. */
static int set_goal(struct batcher *b, int64_t start, int64_t end)
{
    const struct batch *batch = &b->team;
    size_t n = 0, computed = 0;
    for (size_t i = 0; i < batch->n_slices; i++) {
        n += (size_t)slice_is_last(&batch->slices[i]);
        computed += batch->slices[i].count ? batch->slices[i].count : 1;
    }
    pthread_mutex_lock(&b->lock);
    b->image_us = (end - start) * (int64_t)b->n_lanes / (int64_t)computed;
    b->goal = n + b->jobs + b->admitted;
    b->goal_us = end + batch_company_us(end - start);
    const int is_alone = batch->n_slices == 1 && batch->slices[0].count <= 1 &&
                         batch->slices[0].job->n_pictures <= 1 && !b->head;
    pthread_mutex_unlock(&b->lock);
    return is_alone;
}

static void finish_jobs(const struct batch *batch, int64_t now, int is_alone)
{
    for (size_t i = 0; i < batch->n_slices; i++) {
        struct job *job = batch->slices[i].job;
        if (!slice_is_last(&batch->slices[i]))
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
    capsnet_turn_take(b->team.workspace); /* whoever comes meanwhile is in the batch, too */
    pthread_mutex_lock(&b->lock);
    take_batch(b);
    pthread_mutex_unlock(&b->lock);
    const int64_t start = clock_us();
    batch_run(&b->team);
    const int64_t end = clock_us();
    const int is_alone = set_goal(b, start, end);
    /* Before the turn is given: whose turn it is then may get this thread's CPU, too. */
    finish_jobs(&b->team, end, is_alone);
    capsnet_turn_give(b->team.workspace);
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

size_t batcher_lanes(size_t threads)
{
    return threads < MAX_LANES ? threads : MAX_LANES;
}

size_t batcher_here(struct batcher *b)
{
    pthread_mutex_lock(&b->lock);
    const int64_t image_us = b->image_us;
    pthread_mutex_unlock(&b->lock);
    if ((int64_t)b->lane_size * image_us <= HOLD_US)
        return b->lane_size;
    return image_us < HOLD_US ? (size_t)(HOLD_US / image_us) : 1;
}

size_t batcher_lane_threads(size_t threads)
{
    const size_t lanes = batcher_lanes(threads);
    return (threads + lanes - 1) / lanes;
}

static enum capsnet_status make_batches(struct batcher *b, const struct capsnet_model *model,
                                        size_t threads, struct capsnet_turns *turns,
                                        struct model_metrics *metrics, struct capsnet_error *error)
{
    enum capsnet_status status =
        batch_init(&b->team, model, b->max_batch, threads, turns, 0, metrics, error);
    for (size_t i = 0; i < b->n_lanes && status == CAPSNET_OK; i++)
        status = batch_init(&b->lanes[i], model, b->lane_size, batcher_lane_threads(threads),
                            turns, 1, metrics, error);
    return status;
}

static enum capsnet_status no_memory(struct capsnet_error *error)
{
    strcpy(error->text, "out of memory while preparing the batches");
    return CAPSNET_ERR_MEMORY;
}

enum capsnet_status batcher_create(struct batcher **batcher, const struct capsnet_model *model,
                                   size_t max_batch, size_t threads, size_t queue,
                                   size_t delay_us, struct capsnet_turns *turns,
                                   struct model_metrics *metrics, struct capsnet_error *error)
{
    const size_t n_lanes = batcher_lanes(threads);
    struct batcher *b = calloc(1, sizeof *b + n_lanes * sizeof b->lanes[0]);
    if (!b)
        return no_memory(error);
    b->n_lanes = n_lanes;
    b->max_batch = max_batch;
    b->queue = queue;
    b->delay_us = delay_us;
    b->is_direct = strcmp(capsnet_model_plan(model, BATCHER_HERE / 2), "direct") == 0;
    b->lane_size = b->is_direct ? BATCHER_HERE : FEW;
    if (b->lane_size > max_batch)
        b->lane_size = max_batch;
    b->tail = &b->head;
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&b->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);

    enum capsnet_status status = make_batches(b, model, threads, turns, metrics, error);
    if (status == CAPSNET_OK) {
        b->started = pthread_create(&b->thread, NULL, work, b) == 0;
        status = b->started ? CAPSNET_OK : no_memory(error);
    }
    if (status == CAPSNET_OK)
        *batcher = b;
    else
        batcher_free(b);
    return status;
}

int batcher_is_full(struct batcher *b)
{
    pthread_mutex_lock(&b->lock);
    int full = b->admitted + b->gathered + b->listed >= b->queue;
    pthread_mutex_unlock(&b->lock);
    return full;
}

size_t batcher_bytes(const struct batcher *batcher)
{
    size_t bytes = capsnet_workspace_bytes(batcher->team.workspace);
    for (size_t i = 0; i < batcher->n_lanes; i++)
        bytes += capsnet_workspace_bytes(batcher->lanes[i].workspace);
    return bytes;
}

size_t batcher_waiting(struct batcher *b)
{
    pthread_mutex_lock(&b->lock);
    size_t waiting = b->listed + b->gathered;
    pthread_mutex_unlock(&b->lock);
    return waiting;
}

int64_t batcher_asked_us(const struct batcher *b)
{
    return atomic_load_explicit(&b->asked_us, memory_order_relaxed);
}

static void note_asking(struct batcher *b)
{
    atomic_store_explicit(&b->asked_us, clock_us(), memory_order_relaxed);
}

int batcher_admit(struct batcher *b)
{
    note_asking(b);
    pthread_mutex_lock(&b->lock);
    int admitted = b->admitted + b->gathered + b->listed < b->queue;
    b->admitted += (size_t)admitted;
    pthread_mutex_unlock(&b->lock);
    return admitted;
}

/* Is the queue in use, or about to be, by the clients of its last batch, of whom there are too
 * many for the lanes?  Called with the lock. */
static int is_queue_used(struct batcher *b)
{
    return b->admitted || b->listed || (b->is_computing && !b->is_lent) ||
           (b->goal > b->n_lanes * FEW && clock_us() < b->goal_us);
}

/* Are more than a few better queued: for larger batches of them, where these are faster, or so that
 * others do not wait for all of them? */
static int is_for_few(const struct batcher *b, int is_mixed)
{
    return b->max_batch > FEW && (is_mixed || !b->is_direct);
}

int batcher_admit_here(struct batcher *b, size_t gathered, int is_mixed)
{
    note_asking(b);
    pthread_mutex_lock(&b->lock);
    const int is_for_queue = b->delay_us || b->image_us > HOLD_US ||
                             (is_for_few(b, is_mixed) && (gathered >= FEW || is_queue_used(b)));
    const int admitted = !is_for_queue && b->admitted + b->gathered + b->listed < b->queue;
    b->gathered += (size_t)admitted;
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

void batcher_withdraw_here(struct batcher *b)
{
    pthread_mutex_lock(&b->lock);
    b->gathered--;
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

/* Begins to compute n gathered jobs: with all threads where one client alone asks, as was
 * so for a while, and nobody else computes. */
static struct batch *enter(struct batcher *b, size_t lane, size_t n)
{
    pthread_mutex_lock(&b->lock);
    const int64_t now = clock_us();
    if (n > 1 || b->lanes_busy || b->is_computing)
        b->crowded_us = now + CROWD_US;
    const int is_team = now >= b->crowded_us && !b->head;
    b->is_computing |= is_team;
    b->is_lent |= is_team;
    b->lanes_busy++;
    b->gathered -= n;
    pthread_mutex_unlock(&b->lock);
    return is_team ? &b->team : &b->lanes[lane];
}

/* They took it that many microseconds. */
static void leave(struct batcher *b, const struct batch *batch, size_t n, int64_t took_us)
{
    const size_t lanes = batch == &b->team ? b->n_lanes : 1;
    pthread_mutex_lock(&b->lock);
    b->image_us = took_us * (int64_t)lanes / (int64_t)n;
    b->lanes_busy--;
    if (batch == &b->team) {
        b->is_computing = b->is_lent = 0;
        tell(b, b->head || b->stopping);
    }
    pthread_mutex_unlock(&b->lock);
}

void batcher_run_here(struct batcher *b, size_t lane, struct job *const *jobs, size_t n)
{
    struct batch *batch = enter(b, lane, n);
    capsnet_turn_take(batch->workspace);
    const int64_t started_us = clock_us();
    for (size_t i = 0; i < n; i++) {
        jobs[i]->started_us = started_us;
        batch->slices[i] = (struct slice){jobs[i], 0, jobs[i]->n_images};
    }
    batch->n_slices = n;
    batch_run(batch);
    const int64_t done_us = clock_us();
    for (size_t i = 0; i < n; i++)
        jobs[i]->done_us = done_us;
    capsnet_turn_give(batch->workspace);
    leave(b, batch, n, done_us - started_us);
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
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    for (size_t i = 0; i < b->n_lanes; i++)
        batch_free(&b->lanes[i]);
    batch_free(&b->team);
    free(b);
}
