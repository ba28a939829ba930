/*
 * test_kernels_quantise.c - values to 8 bits, of every CPU level that has the
 * instructions, against what the words of kernels.h say: each byte is exact.
 */
#include <math.h>
#include <string.h>

#include "tests/common/kernel_check.h"

/* A level without these instructions says so. */
static int lacks(const struct kernels *kernels, int has)
{
    if (!has)
        print_message("  skipped: level %s has no such instructions\n", kernels->level);
    return !has;
}

static void test_quantise(const struct kernels *kernels, struct random *random,
                          struct worst *worst)
{
    enum { N = 80 };
    float src[N];
    if (lacks(kernels, kernels->quantise != NULL))
        return;
    for (size_t round = 0; round < 50; round++) {
        float top = 0;
        random_fill(random, src, N, round % 2 ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE);
        for (size_t i = 0; i < N; i++) {
            src[i] = fabsf(src[i]);
            top = fmaxf(top, src[i]);
        }
        const float factor = 255 / top;
        src[round % N] = 2 * top; /* beyond the largest: 255 */
        for (enum side side = 0; side < SIDES; side++) {
            const float *in = guard_input(src, N, side);
            uint8_t *out = (uint8_t *)guard_output(N / 4, side);
            assert_true(kernels->largest(in, N) == 2 * top);
            kernels->quantise(out, in, N, factor);
            for (size_t i = 0; i < N; i++, worst->values++)
                assert_int_equal(out[i], (int)fminf(255, nearbyintf(src[i] * factor)));
        }
        for (size_t i = 0; i < N; i++)
            src[i] = -src[i];
        assert_true(kernels->largest(src, N) == 0);
        check_release();
    }
}

/* Its own scale, of either sign; ties to even; an image of nothing. */
static void test_quantise_signed(const struct kernels *kernels, struct random *random,
                                 struct worst *worst)
{
    enum { N = 80 };
    float src[N];
    if (lacks(kernels, kernels->quantise_signed != NULL))
        return;
    for (size_t round = 0; round < 60; round++) {
        float top = 0;
        random_fill(random, src, N, round % 2 ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE);
        for (size_t i = 0; i < N && round % 6 == 5; i++)
            src[i] = (float)((int)random_below(random, 255) - 127) / 2; /* 63.5 at most: ties */
        if (round % 6 == 5)
            src[round % N] = -127;
        if (round % 6 == 4)
            memset(src, 0, sizeof src);
        for (size_t i = 0; i < N; i++)
            top = fmaxf(top, fabsf(src[i]));
        for (enum side side = 0; side < SIDES; side++) {
            const float *in = guard_input(src, N, side);
            uint8_t *out = (uint8_t *)guard_output(N / 4, side);
            const float scale = kernels->quantise_signed(out, in, N);
            assert_true(scale == (top >= 1e-30f ? top / 127 : 0));
            for (size_t i = 0; i < N; i++, worst->values++)
                assert_int_equal(out[i], 128 + (int)nearbyintf(top >= 1e-30f ? src[i] * (127 / top)
                                                                             : 0));
        }
        check_release();
    }
}

static void test_words_int8(const struct kernels *kernels, struct random *random,
                            struct worst *worst)
{
    enum { N = 48 };
    float src[4][N], factors[N];
    int32_t sums[N];
    if (lacks(kernels, kernels->words_int8 != NULL))
        return;
    for (size_t round = 0; round < 50; round++) {
        for (size_t q = 0; q < 4; q++)
            random_fill(random, src[q], N, round % 2 ? MAGNITUDE_ONE : MAGNITUDE_HOSTILE);
        for (size_t i = 0; i < N; i++) {
            float top = 0;
            for (size_t q = 0; q < 4; q++)
                top = fmaxf(top, fabsf(src[q][i]));
            factors[i] = top > 1e-30f ? 127 / top : 0;
            src[i % 4][i] *= 2; /* some beyond: +-127 */
            sums[i] = (int32_t)random_below(random, 2000) - 1000;
        }
        for (enum side side = 0; side < SIDES; side++) {
            const float *rows[4];
            float start[N];
            for (size_t q = 0; q < 4; q++)
                rows[q] = guard_input(src[q], N, side);
            memcpy(start, sums, sizeof sums);
            int32_t *added = (int32_t *)(void *)guard_update(start, N, side);
            int8_t *out = (int8_t *)(void *)guard_output(N, side);
            kernels->words_int8((uint32_t *)(void *)out, added, rows,
                                guard_input(factors, N, side), N);
            for (size_t i = 0; i < N; i++, worst->values++) {
                int32_t sum = sums[i];
                for (size_t q = 0; q < 4; q++) {
                    const float x = nearbyintf(src[q][i] * factors[i]);
                    const int want = (int)fmaxf(-127, fminf(127, x));
                    assert_int_equal(out[4 * i + q], want);
                    sum += want;
                }
                assert_int_equal(added[i], sum);
            }
        }
        check_release();
    }
}

int main(void)
{
    static const struct check checks[] = {
        {"quantise, largest", test_quantise, NULL},
        {"quantise_signed", test_quantise_signed, NULL},
        {"words_int8", test_words_int8, NULL},
    };
    return check_main(checks, sizeof checks / sizeof *checks);
}
