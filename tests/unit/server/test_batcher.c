/* test_batcher.c - the queue and the batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/basics/clock.h"
#include "server/compute/batcher.h"

/* From the top of the tree, where the tests run. */
#define WEIGHTS "tests/golden/small.safetensors"

static struct capsnet_model *model, *direct; /* the former computes all batches spectrally */
static struct capsnet_shape shape;
static size_t pixels, pose_floats;

static int load(void **state)
{
    (void)state;
    struct capsnet_error error;
    const struct capsnet_options spectral = {.plan = "spectral"}, not = {.plan = "direct"};
    if (capsnet_model_load(&model, WEIGHTS, &spectral, &error) != CAPSNET_OK ||
        capsnet_model_load(&direct, WEIGHTS, &not, &error) != CAPSNET_OK) {
        fprintf(stderr, "%s\n", error.text);
        return -1;
    }
    shape = *capsnet_model_shape(model);
    pixels = shape.height * shape.width * shape.channels;
    pose_floats = shape.classes * shape.pose_dims;
    return 0;
}

static int unload(void **state)
{
    (void)state;
    capsnet_model_free(model);
    capsnet_model_free(direct);
    return 0;
}

static struct batcher *make_of(const struct capsnet_model *of, size_t threads, size_t max_batch,
                               size_t queue, size_t delay_us, struct capsnet_turns *turns)
{
    struct batcher *batcher;
    struct capsnet_error error;
    assert_int_equal(batcher_create(&batcher, of, max_batch, threads, queue, delay_us, turns, NULL,
                                    &error),
                     CAPSNET_OK);
    return batcher;
}

static struct batcher *make(size_t max_batch, size_t queue, size_t delay_us)
{
    return make_of(model, 1, max_batch, queue, delay_us, NULL);
}

/* ---- Jobs ------------------------------------------------------------------ */

static sem_t done;

static void on_done(struct job *job)
{
    (void)job;
    sem_post(&done);
}

/* The winner of every image, as /classify has it. */
static void choose(struct job *job)
{
    for (size_t i = 0; i < job->n_pictures; i++) {
        size_t winner = capsnet_winner(&shape, job->lengths + i * shape.classes);
        job->picture_classes[i] = winner;
        memcpy(job->picture_poses + i * shape.pose_dims,
               job->poses + i * pose_floats + winner * shape.pose_dims,
               shape.pose_dims * sizeof(float));
    }
}

static struct job *new_job(size_t n_images, size_t n_pictures, unsigned seed)
{
    struct job *job = calloc(1, sizeof *job);
    float *digits = calloc(n_images * pixels + 1, sizeof(float));
    for (size_t i = 0; i < n_images * pixels; i++)
        digits[i] = (float)(((i + 1) * (seed + 7) * 2654435761u >> 16 & 255)) / 255;
    job->n_images = n_images;
    job->digits = digits;
    job->lengths = calloc(n_images * shape.classes + 1, sizeof(float));
    job->poses = calloc(n_images * pose_floats + 1, sizeof(float));
    job->n_pictures = n_pictures;
    job->picture_poses = calloc(n_pictures * shape.pose_dims + 1, sizeof(float));
    job->picture_classes = calloc(n_pictures + 1, sizeof(size_t));
    job->pictures = calloc(n_pictures * pixels + 1, sizeof(float));
    job->choose = n_images ? choose : NULL;
    job->done = on_done;
    return job;
}

static void free_job(struct job *job)
{
    free((void *)(uintptr_t)job->digits);
    free(job->lengths);
    free(job->poses);
    free(job->picture_poses);
    free(job->picture_classes);
    free(job->pictures);
    free(job);
}

/* Rounding may differ with the size of a batch, by what capsnet.h says at most. */
static void assert_near(const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= 1e-4f))
            fail_msg("%s[%zu]: %g, not %g", what, i, (double)a[i], (double)b[i]);
}

/* Compares a finished job with one image at a time. */
static void check_job(const struct job *job)
{
    struct capsnet_workspace *alone;
    struct capsnet_error error;
    assert_int_equal(capsnet_workspace_create(&alone, model, 1, 1, &error), CAPSNET_OK);
    float *lengths = calloc(shape.classes, sizeof(float));
    float *poses = calloc(pose_floats, sizeof(float)), *picture = calloc(pixels, sizeof(float));
    for (size_t i = 0; i < job->n_images; i++) {
        capsnet_forward(alone, 1, job->digits + i * pixels, lengths, poses);
        assert_near(job->lengths + i * shape.classes, lengths, shape.classes, "lengths");
        assert_near(job->poses + i * pose_floats, poses, pose_floats, "poses");
    }
    for (size_t i = 0; i < job->n_pictures; i++) {
        capsnet_decode(alone, 1, job->picture_poses + i * shape.pose_dims,
                       &job->picture_classes[i], picture);
        assert_near(job->pictures + i * pixels, picture, pixels, "picture");
    }
    assert_true(job->queued_us > 0 && job->started_us >= job->queued_us &&
                job->done_us >= job->started_us);
    free(lengths);
    free(poses);
    free(picture);
    capsnet_workspace_free(alone);
}

static void jobs_of_every_size_come_back_whole(void **state)
{
    (void)state;
    /* images and pictures: smaller and larger than a batch, either absent */
    static const size_t SIZES[][2] = {{1, 1}, {20, 20}, {3, 0},  {0, 1},  {0, 33},
                                      {7, 7}, {8, 1},   {1, 17}, {14, 14}};
    enum { N = sizeof SIZES / sizeof *SIZES };
    struct batcher *batcher = make(7, 1000, 0);
    struct job *jobs[3 * N];
    sem_init(&done, 0, 0);
    for (size_t i = 0; i < 3 * N; i++) {
        jobs[i] = new_job(SIZES[i % N][0], SIZES[i % N][1], (unsigned)i);
        if (jobs[i]->n_pictures > jobs[i]->n_images && jobs[i]->n_images)
            jobs[i]->n_pictures = jobs[i]->n_images; /* choose() has one an image */
        assert_true(batcher_admit(batcher));
        assert_true(batcher_submit(batcher, jobs[i]));
    }
    for (size_t i = 0; i < 3 * N; i++)
        sem_wait(&done);
    batcher_free(batcher);
    for (size_t i = 0; i < 3 * N; i++) {
        check_job(jobs[i]);
        free_job(jobs[i]);
    }
}

static void a_full_queue_admits_nobody(void **state)
{
    (void)state;
    /* A delay of ten seconds keeps a batch that is not full from starting. */
    struct batcher *batcher = make(64, 4, 10000000);
    sem_init(&done, 0, 0);
    assert_false(batcher_is_full(batcher));
    for (int i = 0; i < 4; i++)
        assert_true(batcher_admit(batcher));
    assert_true(batcher_is_full(batcher));
    assert_false(batcher_admit(batcher));
    batcher_withdraw(batcher);
    assert_false(batcher_is_full(batcher));
    assert_true(batcher_admit(batcher));

    /* A request larger than the queue goes in whole; then it is full, also for
     * those that were admitted before. */
    struct job *large = new_job(9, 9, 1), *late = new_job(1, 1, 2);
    assert_true(batcher_submit(batcher, large));
    assert_false(batcher_submit(batcher, late));
    for (int i = 0; i < 3; i++)
        batcher_withdraw(batcher);
    assert_true(batcher_is_full(batcher));
    assert_false(batcher_admit(batcher));
    assert_int_equal(sem_trywait(&done), -1);
    batcher_free(batcher); /* does not wait for the delay, but for the job */
    assert_int_equal(sem_trywait(&done), 0);
    check_job(large);
    free_job(large);
    free_job(late);
}

static void waiting_images_share_a_batch(void **state)
{
    (void)state;
    struct batcher *batcher = make(4, 100, 5000000);
    struct job *jobs[4];
    sem_init(&done, 0, 0);
    for (unsigned i = 0; i < 4; i++) {
        jobs[i] = new_job(1, 1, i);
        assert_true(batcher_admit(batcher));
        assert_true(batcher_submit(batcher, jobs[i]));
    }
    for (int i = 0; i < 4; i++)
        sem_wait(&done);
    for (int i = 0; i < 4; i++) { /* full, so before the delay, and as one */
        assert_true(jobs[i]->started_us == jobs[0]->started_us);
        assert_true(jobs[i]->done_us == jobs[0]->done_us);
        assert_true(jobs[i]->started_us - jobs[0]->queued_us < 5000000);
        check_job(jobs[i]);
    }
    for (int i = 0; i < 4; i++)
        free_job(jobs[i]);
    batcher_free(batcher);
}

static void submit(struct batcher *batcher, struct job *job)
{
    assert_true(batcher_admit(batcher));
    assert_true(batcher_submit(batcher, job));
}

/* Behind a long batch one job waits, and the client of the long one comes again
 * at once.  Returns whether the two became one batch; a third, alone after that,
 * must not have waited for anybody. */
static int company_is_waited_for(struct batcher *batcher)
{
    enum { LONG = 1024 };
    struct job *first = new_job(LONG, 1, 1), *waiting = new_job(1, 1, 2);
    struct job *again = new_job(1, 1, 3), *alone = new_job(1, 1, 4);
    submit(batcher, first);
    usleep(1000); /* it is being computed */
    submit(batcher, waiting);
    sem_wait(&done);
    const int64_t longest_us = (first->done_us - first->started_us) / 6;
    usleep((useconds_t)longest_us / 4); /* an answer on its way there and back */
    submit(batcher, again);
    sem_wait(&done);
    sem_wait(&done);
    usleep((useconds_t)longest_us); /* a pause ends all waiting */
    submit(batcher, alone);
    sem_wait(&done);
    int is_one = again->started_us == waiting->started_us &&
                 waiting->started_us - first->done_us < 2 * longest_us &&
                 alone->started_us - alone->queued_us < longest_us;
    assert_true(alone->is_alone);
    assert_false(first->is_alone);
    assert_false(is_one && (waiting->is_alone || again->is_alone));
    free_job(first);
    free_job(waiting);
    free_job(again);
    free_job(alone);
    return is_one;
}

static void clients_who_come_again_share_a_batch(void **state)
{
    (void)state;
    struct batcher *batcher = make(1024, 10000, 0);
    sem_init(&done, 0, 0);
    int n = 0;
    for (int i = 0; i < 5; i++) /* a busy machine may spoil some */
        n += company_is_waited_for(batcher);
    batcher_free(batcher);
    assert_in_range(n, 2, 5);
}

/* Late jobs are done and not computed; their neighbours do not suffer. */
static void late_jobs_are_not_computed(void **state)
{
    (void)state;
    enum { N = 12 };
    struct batcher *batcher = make(4, 1000, 200000);
    struct job *jobs[N];
    sem_init(&done, 0, 0);
    for (size_t i = 0; i < N; i++) {
        jobs[i] = new_job(i % 4, 1, (unsigned)i);
        jobs[i]->expires_us = i % 3 == 0 ? 1 : INT64_MAX;
        assert_true(batcher_admit(batcher));
        assert_true(batcher_submit(batcher, jobs[i]));
    }
    for (size_t i = 0; i < N; i++)
        sem_wait(&done);
    assert_int_equal(batcher_waiting(batcher), 0);
    batcher_free(batcher);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(jobs[i]->is_expired, i % 3 == 0);
        if (i % 3) {
            check_job(jobs[i]);
        } else {
            for (size_t k = 0; k < jobs[i]->n_images * shape.classes; k++)
                assert_true(jobs[i]->lengths[k] == 0);
            for (size_t k = 0; k < pixels; k++)
                assert_true(jobs[i]->pictures[k] == 0);
        }
        free_job(jobs[i]);
    }
}

/* ---- On the caller's thread ------------------------------------------------------ */

/* A network thread: batches of 1 and more on its own lane. */
struct here {
    struct batcher *batcher;
    size_t lane;
    struct job *jobs[200];
    pthread_t thread;
};

static void *run_here(void *argument)
{
    enum { N = sizeof ((struct here *)0)->jobs / sizeof(struct job *) };
    struct here *here = argument;
    for (size_t i = 0, n = 1; i < N; i += n, n = n % BATCHER_HERE + 1) {
        n = n < N - i ? n : N - i;
        n = n < batcher_here(here->batcher) ? n : batcher_here(here->batcher);
        for (size_t k = 0; k < n; k++) {
            while (!batcher_admit_here(here->batcher, k, 0))
                usleep(10);
            here->jobs[i + k]->queued_us = clock_us();
        }
        batcher_run_here(here->batcher, here->lane, here->jobs + i, n);
    }
    return NULL;
}

/* Beside each other, on every lane there may be, and beside queued jobs, small and large. */
static void network_threads_compute_beside_the_queue(void **state)
{
    (void)state;
    enum { N = sizeof ((struct here *)0)->jobs / sizeof(struct job *), QUEUED = 20 };
    for (size_t threads = 1; threads <= 6; threads++) {
        struct capsnet_turns *turns = capsnet_turns_create();
        struct batcher *batcher = make_of(threads % 2 ? model : direct, threads, 20, 100, 0, turns);
        const size_t lanes = batcher_lanes(threads);
        assert_in_range(lanes * batcher_lane_threads(threads), threads, threads + lanes - 1);
        struct here *here = calloc(lanes, sizeof *here);
        struct job *queued[QUEUED];
        sem_init(&done, 0, 0);
        for (size_t l = 0; l < lanes; l++) {
            here[l].batcher = batcher;
            here[l].lane = l;
            for (unsigned i = 0; i < N; i++)
                here[l].jobs[i] = new_job(i % 5 > 0, 1, i + (unsigned)l);
            assert_int_equal(pthread_create(&here[l].thread, NULL, run_here, &here[l]), 0);
        }
        for (unsigned i = 0; i < QUEUED; i++) {
            queued[i] = new_job(i % 2 ? 1 : 30, 1, i);
            while (!batcher_admit(batcher))
                usleep(10);
            assert_true(i % 3 ? batcher_submit(batcher, queued[i])
                              : batcher_submit_or_run(batcher, queued[i]));
        }
        for (unsigned i = 0; i < QUEUED; i++)
            sem_wait(&done);
        for (size_t l = 0; l < lanes; l++)
            assert_int_equal(pthread_join(here[l].thread, NULL), 0);
        assert_int_equal(batcher_waiting(batcher), 0);
        batcher_free(batcher);
        capsnet_turns_free(turns);
        for (size_t l = 0; l < lanes; l++)
            for (unsigned i = 0; i < N; i++) {
                check_job(here[l].jobs[i]);
                free_job(here[l].jobs[i]);
            }
        for (unsigned i = 0; i < QUEUED; i++) {
            check_job(queued[i]);
            free_job(queued[i]);
        }
        free(here);
    }
}

/* What waits for a network thread has its place in the queue as all others have. */
static void gathered_requests_take_places(void **state)
{
    (void)state;
    struct batcher *batcher = make(64, 3, 0);
    struct job *jobs[2] = {new_job(1, 1, 1), new_job(1, 0, 2)};
    assert_in_range(batcher_here(batcher), 2, BATCHER_HERE / 2 - 1);
    assert_true(batcher_admit_here(batcher, 0, 0));
    assert_true(batcher_admit_here(batcher, 1, 0));
    assert_int_equal(batcher_waiting(batcher), 2);
    assert_false(batcher_is_full(batcher));
    assert_false(batcher_admit_here(batcher, batcher_here(batcher), 0)); /* many are queued, */
    assert_true(batcher_admit(batcher));
    assert_true(batcher_is_full(batcher));
    assert_false(batcher_admit_here(batcher, 2, 0));
    assert_false(batcher_admit(batcher));
    batcher_withdraw_here(batcher);
    assert_false(batcher_admit_here(batcher, 1, 0)); /* as are more where some are */
    batcher_withdraw(batcher);
    assert_true(batcher_admit_here(batcher, 1, 0));
    jobs[0]->queued_us = jobs[1]->queued_us = clock_us();
    batcher_run_here(batcher, 0, jobs, 2);
    assert_int_equal(batcher_waiting(batcher), 0);
    for (int i = 0; i < 3; i++)
        assert_true(batcher_admit(batcher));
    for (int i = 0; i < 3; i++)
        batcher_withdraw(batcher);
    batcher_free(batcher);
    for (int i = 0; i < 2; i++) {
        check_job(jobs[i]);
        free_job(jobs[i]);
    }

    batcher = make(1, 8, 0); /* a queue that makes no larger batches */
    for (size_t i = 0; i < 8; i++)
        assert_true(i % 4 ? batcher_admit_here(batcher, i, 0) : batcher_admit(batcher));
    assert_false(batcher_admit_here(batcher, 0, 0));
    assert_int_equal(batcher_here(batcher), 1);
    for (size_t i = 0; i < 8; i++)
        if (i % 4)
            batcher_withdraw_here(batcher);
        else
            batcher_withdraw(batcher);
    batcher_free(batcher);

    batcher = make(64, 20, 1); /* batches that are to wait */
    assert_false(batcher_admit_here(batcher, 0, 0));
    batcher_free(batcher);
}

/* One job of a network thread's, without an image. */
static void draw_here(struct batcher *batcher, size_t n_pictures)
{
    struct job *job = new_job(0, n_pictures, 1);
    assert_true(batcher_admit_here(batcher, 0, 0));
    job->queued_us = clock_us();
    batcher_run_here(batcher, 0, &job, 1);
    free_job(job);
}

/* Many are no faster together where all batches are computed directly: all of them stay, though a
 * batch is not to take long, but where an image alone does, or other models' clients would wait. */
static void many_are_computed_here_where_that_is_as_fast(void **state)
{
    (void)state;
    enum { QUEUE = 100 };
    struct batcher *batcher = make_of(direct, 1, 64, QUEUE, 0, NULL);
    assert_int_equal(batcher_asked_us(batcher), 0);
    assert_int_equal(batcher_here(batcher), BATCHER_HERE);
    assert_true(batcher_admit(batcher)); /* somebody else is in the queue */
    for (size_t i = 1; i < QUEUE; i++)
        assert_true(batcher_admit_here(batcher, i - 1, 0));
    assert_false(batcher_admit_here(batcher, QUEUE - 1, 0));
    assert_in_range(batcher_asked_us(batcher), clock_us() - 10000000, clock_us());
    for (size_t i = 1; i < QUEUE; i++)
        batcher_withdraw_here(batcher);
    batcher_withdraw(batcher);
    size_t mixed = 0;
    while (batcher_admit_here(batcher, mixed, 1))
        mixed++;
    assert_in_range(mixed, 2, BATCHER_HERE / 2);
    for (size_t i = 0; i < mixed; i++)
        batcher_withdraw_here(batcher);

    /* Longer and longer jobs, until one is too long; before that fewer are a batch. */
    int is_admitted = 1, is_shorter = 0;
    for (size_t n = 100; is_admitted && n < 1000000; n *= 2) {
        draw_here(batcher, n);
        assert_in_range(batcher_here(batcher), 1, BATCHER_HERE);
        is_shorter |= batcher_here(batcher) > 1 && batcher_here(batcher) < BATCHER_HERE;
        is_admitted = batcher_admit_here(batcher, 0, 0);
        if (is_admitted)
            batcher_withdraw_here(batcher);
    }
    assert_true(is_shorter);
    assert_false(is_admitted);
    assert_int_equal(batcher_here(batcher), 1);
    /* The queue's batches tell when they are short again. */
    struct job *job = new_job(0, 1, 1);
    sem_init(&done, 0, 0);
    assert_true(batcher_admit(batcher));
    assert_true(batcher_submit_or_run(batcher, job));
    sem_wait(&done);
    free_job(job);
    draw_here(batcher, 1);
    batcher_free(batcher);

    batcher = make_of(direct, 1, 20, 100, 0, NULL);
    assert_int_equal(batcher_here(batcher), 20);
    batcher_free(batcher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_of_every_size_come_back_whole),
        cmocka_unit_test(a_full_queue_admits_nobody),
        cmocka_unit_test(waiting_images_share_a_batch),
        cmocka_unit_test(clients_who_come_again_share_a_batch),
        cmocka_unit_test(late_jobs_are_not_computed),
        cmocka_unit_test(network_threads_compute_beside_the_queue),
        cmocka_unit_test(gathered_requests_take_places),
        cmocka_unit_test(many_are_computed_here_where_that_is_as_fast),
    };
    return cmocka_run_group_tests_name("server batcher", tests, load, unload);
}
