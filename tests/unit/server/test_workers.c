/* test_workers.c - the threads that decode and write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "server/compute/workers.h"

struct counted {
    struct task task;
    int runs;
};

static void run_counted(struct task *task)
{
    ((struct counted *)(void *)task)->runs++;
}

/* Some look for more, some do not. */
static int64_t count_rest(void *context)
{
    return atomic_fetch_add((atomic_int *)context, 1) % 2 ? 50 : 0;
}

static void every_task_runs_once(void **state)
{
    (void)state;
    enum { N = 2000 };
    static struct counted tasks[N];
    atomic_int rests = 0;
    struct workers *workers = workers_create(3, count_rest, &rests);
    assert_non_null(workers);
    for (int i = 0; i < N; i++) {
        tasks[i] = (struct counted){.task.run = run_counted};
        workers_submit(workers, &tasks[i].task);
    }
    workers_free(workers); /* finishes them */
    for (int i = 0; i < N; i++)
        assert_int_equal(tasks[i].runs, 1);
    assert_in_range(atomic_load(&rests), 1, N); /* none without a task before it */
    workers_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
    };
    return cmocka_run_group_tests_name("server workers", tests, NULL, NULL);
}
