/*
 * random.h - random numbers that are a function of what they are for.
 *
 * Every stream is named by (seed, purpose, epoch, item), so that an image's
 * augmentation or an epoch's order needs no history: a resumed run draws what
 * an unbroken one would have drawn, on any number of threads.
 *
 * splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
 * generators", OOPSLA 2014.
 */
#ifndef CAPSNET_RANDOM_H
#define CAPSNET_RANDOM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *r)
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

enum random_purpose {
    RANDOM_WEIGHTS = 1,
    RANDOM_ORDER,
    RANDOM_AUGMENT,
    RANDOM_HOLDOUT,
    RANDOM_PAIR,
    RANDOM_AUGMENT_PAIR,
    RANDOM_MEASURED_PAIR
};

static inline struct random random_stream(uint64_t seed, enum random_purpose purpose,
                                          uint64_t epoch, uint64_t item)
{
    struct random r = {seed};
    r.state = random_next(&r) ^ (uint64_t)purpose;
    r.state = random_next(&r) ^ epoch;
    r.state = random_next(&r) ^ item;
    r.state = random_next(&r);
    return r;
}

/* 0 .. n - 1; the bias is below n / 2^64. */
static inline uint64_t random_below(struct random *r, uint64_t n)
{
    return (uint64_t)((unsigned __int128)random_next(r) * n >> 64);
}

/* low .. high. */
static inline float random_uniform(struct random *r, float low, float high)
{
    return low + (high - low) * (float)(random_next(r) >> 40) * 0x1p-24f;
}

/* Mean 0, variance 1, cut off at 2 (as the authors' truncated normal). */
static inline float random_normal(struct random *r)
{
    for (;;) { /* Box and Muller */
        float u = random_uniform(r, 0x1p-24f, 1), angle = random_uniform(r, 0, 6.2831853f);
        float x = sqrtf(-2 * logf(u)) * cosf(angle);
        if (fabsf(x) <= 2)
            return x;
    }
}

/* Puts n values into an order of r's. */
static inline void random_shuffle(uint32_t *values, size_t n, struct random r)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below(&r, i);
        uint32_t swap = values[i - 1];
        values[i - 1] = values[j];
        values[j] = swap;
    }
}

#endif
