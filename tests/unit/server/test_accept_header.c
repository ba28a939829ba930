/* test_accept_header.c - JSON or PNG, by the Accept header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/request/accept_header.h"

static void accept_is_weighed(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        int json, png;
    } CASES[] = {
        {NULL, 0, 0},
        {"", 0, 0},
        {"*/*", 0, 0},
        {"image/*", 0, 1},
        {"image/png", 0, 1},
        {"text/html,application/xhtml+xml,*/*;q=0.8", 0, 0},
        {"application/json", 1, 0},
        {"Application/JSON ; charset=utf-8", 1, 0},
        {"application/json, text/plain, */*", 1, 0},
        {"application/json;q=0", 0, 0},
        {"application/json; q=0.5, image/png", 0, 1},
        {"application/json; q=0.5, image/png;q=0.5", 1, 0},
        {"image/png;q=0.4 , application/json;Q=0.5", 1, 0},
        {"image/png;q=0.001,application/json;q=0.0001", 0, 1},
        {"application/jsonx", 0, 0},
        {"application/json;q=banana", 0, 0},
        {",,, ;;q", 0, 0},
        {"application/json;q=", 1, 0},
        {"image/png;q=0", 0, 0},
        {"image/png, */*", 0, 1},
        {"*/*;q=0.9, application/json;q=0.5", 0, 1},
        {"application/json;q=0.9, */*;q=0.1", 1, 0},
        {"*/*;q=0.1, image/png;q=0", 1, 0},
        {"image/png;q=0.5, */*;q=0.6", 1, 0},
        {"*/*;q=0.6, image/png", 0, 1},
        {"image/avif,image/webp,image/*,*/*;q=0.8", 0, 1},
        {"application/*", 1, 0},
        {"Application/*;q=0.5, image/*;q=0.6", 0, 1},
        {"application/*;q=0.7, image/*;q=0.6", 1, 0},
        {"application/*;q=0, application/json", 1, 0},
        {"application/*, image/*", 0, 0},
        {"image/*;q=0.5, application/json;q=0.5", 1, 0},
        {"*/json", 0, 0},
        {"*/*x, */", 0, 0},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        if (accept_prefers_json(CASES[i].accept) != CASES[i].json ||
            accept_prefers_png(CASES[i].accept) != CASES[i].png)
            fail_msg("Accept: %s", CASES[i].accept ? CASES[i].accept : "(none)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_is_weighed),
    };
    return cmocka_run_group_tests_name("server accept", tests, NULL, NULL);
}
