/* test_known.c - what passes for one of the model's kind. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../server/known.h"

static void test_longer_capsules_may_err_more(void **state)
{
    (void)state;
    assert_true(is_known(0.04f, 0.0399f, 0.95f, 0.1f));
    assert_false(is_known(0.04f, 0.0401f, 0.95f, 0.1f));
    assert_true(is_known(0.04f, 0.0079f, 0.55f, 0.1f));
    assert_false(is_known(0.04f, 0.0081f, 0.55f, 0.1f));
    assert_false(is_known(0.04f, 0.0001f, 0.44f, 0.1f));
    assert_false(is_known(0.04f, 0.0001f, 0.0f, 0.1f));
}

static void test_half_of_the_ink_must_be_accounted_for(void **state)
{
    (void)state;
    assert_true(is_known(0.04f, 0.019f, 0.95f, 0.04f));
    assert_false(is_known(0.04f, 0.021f, 0.95f, 0.04f));
    assert_false(is_known(0.04f, 0.0001f, 0.95f, 0.0f)); /* blank */
    assert_false(is_known(0.04f, 0.0f, 0.95f, 0.0f));
}

static void test_without_threshold_nothing_passes(void **state)
{
    (void)state;
    assert_false(is_known(NAN, 0.0001f, 0.95f, 0.1f));
}

static void test_mean_square(void **state)
{
    const float pixels[4] = {0, 1, 0.5f, 0.5f};
    (void)state;
    assert_true(fabsf(mean_square(pixels, 4) - 0.375f) < 1e-6f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_longer_capsules_may_err_more),
        cmocka_unit_test(test_half_of_the_ink_must_be_accounted_for),
        cmocka_unit_test(test_without_threshold_nothing_passes),
        cmocka_unit_test(test_mean_square),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
