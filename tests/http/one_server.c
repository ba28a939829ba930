/* one_server.c - see one_server.h. */
#include "tests/http/one_server.h"

#include "tests/http/harness.h"

struct server *server;

int start(void **state)
{
    (void)state;
    server = server_start(NO_ARGS, NO_ARGS);
    return 0;
}

int stop(void **state)
{
    (void)state;
    server_stop(server);
    return 0;
}
