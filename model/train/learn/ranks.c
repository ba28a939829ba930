/*
 * ranks.c - see ranks.h.
 */
#include "model/train/learn/ranks.h"

#ifdef CAPSNET_MPI

#include <mpi.h>

void ranks_start(void)
{
    /* The threads of the pool never call MPI. */
    int given;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given);
    if (given < MPI_THREAD_FUNNELED)
        MPI_Abort(MPI_COMM_WORLD, 1);
}

void ranks_finish(void)
{
    MPI_Finalize();
}

void ranks_abort(void)
{
    MPI_Abort(MPI_COMM_WORLD, 1);
}

size_t ranks_count(void)
{
    int count;
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    return (size_t)count;
}

size_t ranks_rank(void)
{
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return (size_t)rank;
}

enum { AT_ONCE = 1 << 28 }; /* MPI counts in ints */

void ranks_sum_floats(float *values, size_t n)
{
    for (size_t i = 0; i < n; i += AT_ONCE)
        MPI_Allreduce(MPI_IN_PLACE, values + i, n - i < AT_ONCE ? (int)(n - i) : AT_ONCE,
                      MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

void ranks_sum_doubles(double *values, size_t n)
{
    MPI_Allreduce(MPI_IN_PLACE, values, (int)n, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

int ranks_agree(uint32_t value)
{
    uint32_t ends[2] = {value, ~value}; /* the largest, and the smallest inverted */
    MPI_Allreduce(MPI_IN_PLACE, ends, 2, MPI_UINT32_T, MPI_MAX, MPI_COMM_WORLD);
    return ends[0] == ~ends[1];
}

#else

void ranks_start(void)
{
}

void ranks_finish(void)
{
}

void ranks_abort(void)
{
}

size_t ranks_count(void)
{
    return 1;
}

size_t ranks_rank(void)
{
    return 0;
}

void ranks_sum_floats(float *values, size_t n)
{
    (void)values, (void)n;
}

void ranks_sum_doubles(double *values, size_t n)
{
    (void)values, (void)n;
}

int ranks_agree(uint32_t value)
{
    (void)value;
    return 1;
}

#endif
