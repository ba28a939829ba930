/*
 * bad_machine.c - loaded before a program's libraries (LD_PRELOAD), a machine on
 * which two things go wrong:
 *
 *   REFUSE_THREAD  the thread of that number (the first is 1) is not started, as when
 *                  the limit of processes is reached
 *   CLOCK_FILE     while a file of that name exists the wall clock is an hour slow
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef int create_thread(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    static atomic_long threads;
    const char *refused = getenv("REFUSE_THREAD");
    create_thread *next;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
    if (atomic_fetch_add(&threads, 1) + 1 == (refused ? atol(refused) : 0))
        return EAGAIN;
    return next(thread, attributes, run, argument);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    const char *file = getenv("CLOCK_FILE");
    const int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME && status == 0 && file && access(file, F_OK) == 0)
        now->tv_sec -= 3600;
    return status;
}
