/* test_known.c - what passes for one of the model's kind. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/capsnet.h"

static void test_more_ink_may_err_more(void **state)
{
    (void)state;
    const struct capsnet_known known = {0.04f, 0.1f, 0.5f, 0.8f};
    assert_true(capsnet_is_known(&known, 0.0399f, 0.9f, 0.1f));
    assert_false(capsnet_is_known(&known, 0.0401f, 0.9f, 0.1f));
    assert_true(capsnet_is_known(&known, 0.0799f, 0.9f, 0.4f));
    assert_false(capsnet_is_known(&known, 0.0801f, 0.9f, 0.4f));
}

static void test_the_capsule_must_be_long(void **state)
{
    (void)state;
    const struct capsnet_known known = {0.04f, 0.1f, 0.5f, 0.8f};
    assert_true(capsnet_is_known(&known, 0.01f, 0.8f, 0.1f));
    assert_false(capsnet_is_known(&known, 0.01f, 0.799f, 0.1f));
}

static void test_a_threshold_alone_judges_the_error_alone(void **state)
{
    (void)state;
    const struct capsnet_known known = {0.04f, 1, 0, 0};
    for (float ink = 0.05f; ink <= 1; ink *= 2) {
        assert_true(capsnet_is_known(&known, 0.0399f, 0, ink));
        assert_false(capsnet_is_known(&known, 0.0401f, 0.99f, ink));
    }
}

static void test_a_blank_image_is_none(void **state)
{
    (void)state;
    const struct capsnet_known any = {1000, 1, 0, 0}, known = {0.04f, 0.1f, 0.5f, 0};
    assert_false(capsnet_is_known(&any, 0.0001f, 0.9f, 0));
    assert_false(capsnet_is_known(&any, 0, 0.9f, 0));
    assert_false(capsnet_is_known(&any, 0.1f, 0.9f, 0.1f)); /* no nearer than nothing */
    assert_false(capsnet_is_known(&known, 0.0001f, 0.9f, 0));
}

static void test_without_threshold_nothing_passes(void **state)
{
    (void)state;
    assert_false(capsnet_is_known(&(struct capsnet_known){NAN, 1, 0, 0}, 0, 0.99f, 0.1f));
}

static void test_ink(void **state)
{
    const struct capsnet_shape shape = {.height = 1, .width = 2, .channels = 2};
    const float pixels[4] = {0, 1, 0.5f, 0.5f};
    (void)state;
    assert_true(fabsf(capsnet_ink(&shape, pixels) - 0.375f) < 1e-6f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_more_ink_may_err_more),
        cmocka_unit_test(test_the_capsule_must_be_long),
        cmocka_unit_test(test_a_threshold_alone_judges_the_error_alone),
        cmocka_unit_test(test_a_blank_image_is_none),
        cmocka_unit_test(test_without_threshold_nothing_passes),
        cmocka_unit_test(test_ink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
