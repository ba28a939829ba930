/* steps.c - see steps.h. */
#include "server/request/steps.h"

#include "server/basics/clock.h"
#include "server/basics/container_of.h"
#include "server/request/inflate_body.h"

static unsigned refuse_full(struct request *r)
{
    return request_refuse(r, REFUSED_OVERLOADED, "the queue is full; try again soon");
}

/* It has waited for longer than it may. */
static void refuse_expired(struct request *r)
{
    request_refuse(r, REFUSED_OVERLOADED, "the request waited for more than %zu ms; try again soon",
                   r->service->options->queue_deadline_ms);
}

static void hand_back(struct request *r)
{
    r->stage = REQUEST_ANSWERED;
    resume_queue_add(&r->service->resume_queue, &r->resumable);
}

/* Its job is done. */
static void finish(struct request *r)
{
    int64_t start = clock_us();
    if (r->job.is_expired)
        refuse_expired(r);
    else
        r->route->finish(r);
    r->decode_us = r->job.queued_us - r->begun_us;
    r->queue_us += r->job.started_us - r->job.queued_us;
    r->encode_us = clock_us() - start;
}

static void run_finish(struct task *task)
{
    struct request *r = container_of(task, struct request, task);
    finish(r);
    hand_back(r);
}

/* With nothing else to compute, the answer is sooner written than a worker is
 * woken to write it. */
static void on_job_done(struct job *job)
{
    struct request *r = container_of(job, struct request, job);
    struct service *service = r->service; /* r may be gone after run_finish() */
    r->task.run = run_finish;
    if (!job->is_alone) {
        workers_submit(service->workers, &r->task);
        return;
    }
    const int is_here = job->is_here; /* a worker, who flushes when he rests */
    run_finish(&r->task);
    if (!is_here)
        resume_queue_flush(&service->resume_queue);
}

/* Returns 1 where its job is to be computed, and 0 where it has its answer already. */
static int begin(struct request *r)
{
    r->begun_us = clock_us();
    r->queue_us = r->begun_us - r->complete_us;
    if (r->begun_us >= r->job.expires_us)
        refuse_expired(r);
    else if (inflate_body(r) == 0 && r->route->begin(r) == 0)
        return 1;
    r->decode_us = clock_us() - r->begun_us;
    return 0;
}

static void run_begin(struct task *task)
{
    struct request *r = container_of(task, struct request, task);
    if (begin(r))
        return; /* the batcher's now, or further still */
    batcher_withdraw(r->engine->batcher);
    hand_back(r);
}

void steps_answer(struct request *r)
{
    r->route->begin(r);
}

unsigned steps_look_for_place(struct request *r)
{
    return batcher_is_full(r->engine->batcher) ? refuse_full(r) : 0;
}

unsigned steps_take_place(struct request *r)
{
    return batcher_admit(r->engine->batcher) ? 0 : refuse_full(r);
}

static void note_arrival(struct request *r)
{
    r->complete_us = clock_us();
    r->job.expires_us =
        r->complete_us + (int64_t)r->service->options->queue_deadline_ms * 1000;
}

void steps_start(struct request *r)
{
    r->stage = REQUEST_WORKING;
    note_arrival(r);
    r->task.run = run_begin;
    r->job.done = on_job_done;
    workers_submit(r->service->workers, &r->task);
}

unsigned steps_submit(struct request *r)
{
    request_drop_body(r);
    if (r->stage == REQUEST_GATHERED) {
        r->job.queued_us = clock_us();
        return 0; /* steps_run_here() goes on with it */
    }
    return batcher_submit_or_run(r->engine->batcher, &r->job) ? 0 : refuse_full(r);
}

/* On a single CPU the looking would be in the way. */
int64_t steps_look_us(struct service *service, size_t clients)
{
    enum { LOOK_US = 100 };
    const int is_worth = service->threads > 1 && metrics_connections(&service->metrics) <= clients;
    return is_worth ? LOOK_US : 0;
}

/* ---- On its network thread ---------------------------------------------------- */

int steps_take_place_here(struct request *r, size_t gathered)
{
    const int is_mixed = generation_is_mixed(r->generation, r->engine);
    if (!batcher_admit_here(r->engine->batcher, gathered, is_mixed))
        return 0;
    note_arrival(r);
    return 1;
}

void steps_give_place_here(struct request *r)
{
    batcher_withdraw_here(r->engine->batcher);
}

void steps_run_here(struct request *const *requests, size_t n, size_t lane)
{
    struct request *begun[BATCHER_HERE];
    struct job *jobs[BATCHER_HERE];
    size_t n_begun = 0;
    for (size_t i = 0; i < n; i++) {
        struct request *r = requests[i];
        if (begin(r)) {
            begun[n_begun] = r;
            jobs[n_begun++] = &r->job;
        } else {
            steps_give_place_here(r);
            r->stage = REQUEST_ANSWERED;
        }
    }
    if (n_begun == 0)
        return;
    batcher_run_here(begun[0]->engine->batcher, lane, jobs, n_begun);
    for (size_t i = 0; i < n_begun; i++) {
        finish(begun[i]);
        begun[i]->stage = REQUEST_ANSWERED;
    }
}
