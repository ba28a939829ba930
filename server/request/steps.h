/*
 * steps.h - a request's life between its last byte and its answer: it is begun by a
 * worker, computed by the batcher (alone: by that worker), finished by a worker, and handed
 * back.  Where its route says that it is small, its network thread begins, computes and
 * finishes it itself (gathering.h).
 *
 * Its place in the queue is this file's alone:
 *   steps_look_for_place   is there one?  Asked when the headers have come, before the
 *                          body is kept (network thread)
 *   steps_take_place       takes it when the request has come whole (network thread)
 *   steps_submit           its job takes the place along, and gives it back as a batch
 *                          takes its images (worker, at the end of the begin step)
 *   where a begin step ends without that, its worker gives the place back.
 */
#ifndef CAPSNETD_STEPS_H
#define CAPSNETD_STEPS_H

#include "server/request/request.h"

/* Answers a request, whole, whose route needs no computing: quick, on the network
 * thread.  Needs no place. */
void steps_answer(struct request *request);

/* Each returns 0, or 503 when the queue is full. */
unsigned steps_look_for_place(struct request *request);
unsigned steps_take_place(struct request *request);

/* Hands a request that has come whole, has a place, and whose connection is
 * suspended, to the workers.  It comes back through the resume queue, with its
 * answer, and belongs to other threads until then. */
void steps_start(struct request *request);

/* The same for a request that its network thread computes itself, which has gathered so many
 * before: takes a place, returns 1, or 0 where it is to go to the workers; gives it back; or
 * begins, computes and answers n requests of one engine, batcher_here() at most.
 * lane: the thread's own. */
int steps_take_place_here(struct request *request, size_t gathered);
void steps_give_place_here(struct request *request);
void steps_run_here(struct request *const *requests, size_t n, size_t lane);

/* Drops the body and submits the job: the last thing that a begin step does.
 * Returns 0, or 503 when the queue has filled up. */
unsigned steps_submit(struct request *request);

/* For how many microseconds a thread that has answered looks for the next request before it
 * sleeps, where there are so many clients at most: one who asks all the time, of a thread that
 * answers nobody else, is back sooner than the thread wakes up. */
int64_t steps_look_us(struct service *service, size_t clients);

#endif
