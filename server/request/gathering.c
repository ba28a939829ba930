/* gathering.c - see gathering.h. */
#include "server/request/gathering.h"

#include "server/basics/clock.h"
#include "server/request/request.h"
#include "server/request/steps.h"

void gathering_init(struct gathering *g, size_t lane)
{
    *g = (struct gathering){.lane = lane};
    g->tail = &g->head;
}

int gathering_add(struct gathering *g, struct request *r)
{
    if (!steps_take_place_here(r, g->n))
        return 0;
    r->stage = REQUEST_GATHERED;
    r->next_gathered = NULL;
    *g->tail = r;
    g->tail = &r->next_gathered;
    g->n++;
    return 1;
}

/* Takes the request out that *at points to. */
static struct request *take(struct gathering *g, struct request **at)
{
    struct request *r = *at;
    *at = r->next_gathered;
    if (!*at)
        g->tail = at;
    g->n--;
    return r;
}

void gathering_remove(struct gathering *g, struct request *r)
{
    struct request **at = &g->head;
    while (*at != r)
        at = &(*at)->next_gathered;
    take(g, at);
    steps_give_place_here(r);
}

int64_t gathering_wait_us(struct gathering *g)
{
    if (g->answered) {
        g->goal = g->answered + g->n;
        g->answered = 0;
    }
    if (!g->head)
        return -1;
    const int64_t left = g->goal_us - clock_us();
    return g->n >= g->goal || g->n >= batcher_here(g->head->engine->batcher) || left < 0 ? 0 : left;
}

void gathering_run(struct gathering *g)
{
    struct request *batch[BATCHER_HERE];
    const struct engine *engine = g->head->engine;
    const size_t max = batcher_here(engine->batcher);
    size_t n = 0;
    for (struct request **at = &g->head; *at && n < max;)
        if ((*at)->engine == engine)
            batch[n++] = take(g, at);
        else
            at = &(*at)->next_gathered;
    const int64_t start = clock_us();
    steps_run_here(batch, n, g->lane);
    const int64_t end = clock_us();
    g->answered = n;
    g->goal_us = end + batch_company_us(end - start);
}
