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

static void run_finish(struct task *task)
{
    struct request *r = container_of(task, struct request, task);
    int64_t start = clock_us();
    if (r->job.is_expired)
        refuse_expired(r);
    else
        r->route->finish(r);
    r->decode_us = r->job.queued_us - r->begun_us;
    r->queue_us += r->job.started_us - r->job.queued_us;
    r->encode_us = clock_us() - start;
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

static void run_begin(struct task *task)
{
    struct request *r = container_of(task, struct request, task);
    r->begun_us = clock_us();
    r->queue_us = r->begun_us - r->complete_us;
    if (r->begun_us >= r->job.expires_us)
        refuse_expired(r);
    else if (inflate_body(r) == 0 && r->route->begin(r) == 0)
        return; /* the batcher's now, or further still */
    r->decode_us = clock_us() - r->begun_us;
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

void steps_start(struct request *r)
{
    r->stage = REQUEST_WORKING;
    r->complete_us = clock_us();
    r->job.expires_us =
        r->complete_us + (int64_t)r->service->options->queue_deadline_ms * 1000;
    r->task.run = run_begin;
    r->job.done = on_job_done;
    workers_submit(r->service->workers, &r->task);
}

unsigned steps_submit(struct request *r)
{
    request_drop_body(r);
    return batcher_submit_or_run(r->engine->batcher, &r->job) ? 0 : refuse_full(r);
}
