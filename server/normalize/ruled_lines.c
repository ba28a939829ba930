/*
 * ruled_lines.c - takes the lines of ruled and squared paper off the ink.
 *
 * A rule is a thin line that runs through the whole picture, from one side to
 * the other, straight but perhaps a little slanting.  So the picture is cut into
 * strips across the rules, a line's place is found in each strip on its own, and
 * places that continue each other through nearly all strips are a rule.  A
 * stroke may do that too, in a picture cut close around a 7: so rules must be
 * paler than the ink or at least three.  Where a stroke crosses a rule the ink
 * above and below tells what is under it.
 *
 * Written for horizontal rules; the vertical ones are found the same way with
 * the steps along x and y exchanged.
 */
#include <stdlib.h>

#include "server/normalize/ink.h"
#include "server/normalize/levels.h"

enum {
    STRIPS = 12,
    MOST_RULES = 128,
    LEAST_SEEN = 5,   /* strips that must show it alone */
    LEAST_FOUND = 11, /* that must show it, or strokes that may hide it */
    THIN = 60,        /* a rule is at most 2 pixels + 1/60 of the picture thick */
};

/* The picture seen along its rules. */
struct view {
    uint8_t *pixels;
    size_t length, breadth; /* along the rules, and across them */
    size_t along, across;   /* steps between neighbours */
};

/* Where a rule lies in a strip: from <= place < to; from == to: not seen. */
struct span {
    size_t from, to;
};

struct rule {
    struct span spans[STRIPS];
    size_t seen, hidden;
    size_t thickness; /* the least in any strip: in others a stroke may lie along it */
    int level;        /* its mean ink where it is seen alone */
};

static size_t strip_start(const struct view *view, size_t strip)
{
    return view->length * strip / STRIPS;
}

/* The mean ink of a strip's line when at least three quarters of it have ink
 * above the limit, else 0: a line of paper has none, nor has one that only
 * crosses strokes. */
static uint8_t line_level(const struct view *view, size_t strip, size_t place, uint8_t limit)
{
    const size_t from = strip_start(view, strip), to = strip_start(view, strip + 1);
    const uint8_t *pixel = view->pixels + place * view->across + from * view->along;
    size_t sum = 0, above = 0;
    for (size_t i = from; i < to; i++, pixel += view->along) {
        sum += *pixel;
        above += *pixel > limit;
    }
    return (uint8_t)(above * 4 >= (to - from) * 3 ? sum / (to - from) : 0);
}

/* level: [STRIPS][breadth]. */
static void find_levels(uint8_t *level, const struct view *view, uint8_t limit)
{
    for (size_t strip = 0; strip < STRIPS; strip++)
        for (size_t place = 0; place < view->breadth; place++)
            level[strip * view->breadth + place] = line_level(view, strip, place, limit);
}

/* The line of a strip that is nearest to `place`, at most `reach` away, however
 * thick. */
static struct span nearest_line(const uint8_t *level, size_t breadth, size_t place, size_t reach)
{
    for (size_t off = 0; off <= 2 * reach + 1; off++) {
        const size_t at = off % 2 ? place + (off + 1) / 2 : place - off / 2;
        if (at >= breadth || level[at] == 0) /* place - off / 2 may wrap around */
            continue;
        struct span span = {at, at + 1};
        while (span.from > 0 && level[span.from - 1] > 0)
            span.from--;
        while (span.to < breadth && level[span.to] > 0)
            span.to++;
        return span;
    }
    return (struct span){0, 0};
}

/* Is the rule seen in this strip, and alone? */
static int is_alone(const struct rule *rule, size_t strip)
{
    const struct span *span = &rule->spans[strip];
    return span->to > 0 && span->to - span->from <= rule->thickness + 2; /* soft edges, a slant */
}

/* Follows a line from the first strip's span through all others. */
static struct rule follow(const uint8_t *level, const struct view *view, size_t first,
                          struct span start, size_t thickest)
{
    const size_t reach = 1 + view->breadth / 100; /* to the next strip: slants of some degrees */
    struct rule rule = {.seen = 0};
    size_t place = (start.from + start.to) / 2, levels = 0, n = 0;

    for (size_t strip = first; strip < STRIPS; strip++) {
        const uint8_t *own = level + strip * view->breadth;
        const struct span span = nearest_line(own, view->breadth, place, reach);
        if (span.to - span.from > thickest) {
            rule.hidden++;
        } else if (span.to > 0) {
            rule.spans[strip] = span;
            rule.seen++;
            if (rule.thickness == 0 || span.to - span.from < rule.thickness)
                rule.thickness = span.to - span.from;
            place = (span.from + span.to) / 2;
        }
    }
    for (size_t strip = first; strip < STRIPS; strip++) {
        if (!is_alone(&rule, strip))
            continue;
        const struct span span = rule.spans[strip];
        levels += level[strip * view->breadth + (span.from + span.to) / 2];
        n++;
    }
    rule.level = n ? (int)(levels / n) : 0;
    return rule;
}

/* All rules; those that go on beside an earlier one are it. */
static size_t find_rules(struct rule rules[MOST_RULES], const uint8_t *level,
                         const struct view *view)
{
    const size_t thickest = 2 + view->breadth / THIN;
    size_t n = 0;
    for (size_t first = 0; first + LEAST_FOUND <= STRIPS; first++) {
        const uint8_t *own = level + first * view->breadth;
        for (size_t place = 0; place < view->breadth && n < MOST_RULES; place++) {
            if (own[place] == 0)
                continue;
            struct span span = {place, place + 1};
            while (span.to < view->breadth && own[span.to] > 0)
                span.to++;
            place = span.to;
            int is_known = span.to - span.from > thickest;
            for (size_t i = 0; i < n && !is_known; i++)
                is_known = rules[i].spans[first].from == span.from &&
                           rules[i].spans[first].to == span.to;
            if (is_known)
                continue;
            rules[n] = follow(level, view, first, span, thickest);
            n += rules[n].seen >= LEAST_SEEN && rules[n].seen + rules[n].hidden >= LEAST_FOUND;
        }
    }
    return n;
}

/* Puts, along a strip, the lesser of what is above and below the span, no more
 * than there was, and leaves what is above `limit`: a stroke over the rule.  One
 * pixel more on either side: a rule has soft edges. */
static void erase_span(const struct view *view, size_t strip, struct span span, int limit)
{
    const size_t from = span.from > 0 ? span.from - 1 : 0;
    const size_t to = span.to < view->breadth ? span.to + 1 : view->breadth;
    for (size_t i = strip_start(view, strip); i < strip_start(view, strip + 1); i++) {
        uint8_t *line = view->pixels + i * view->along;
        const uint8_t above = from > 0 ? line[(from - 1) * view->across] : 0;
        const uint8_t below = to < view->breadth ? line[to * view->across] : 0;
        const uint8_t under = above < below ? above : below;
        for (size_t k = from; k < to; k++)
            if (line[k * view->across] > under && line[k * view->across] <= limit)
                line[k * view->across] = under;
    }
}

/* Where a strip does not show the rule alone, it is where the strip before has
 * it, or the next that does; and there ink above the limit is a stroke's. */
static void erase_rule(const struct view *view, const struct rule *rule, int limit)
{
    struct span span = {0, 0};
    for (size_t strip = STRIPS; strip-- > 0;)
        if (is_alone(rule, strip))
            span = rule->spans[strip]; /* at last the first */
    for (size_t strip = 0; strip < STRIPS; strip++) {
        if (is_alone(rule, strip))
            span = rule->spans[strip];
        erase_span(view, strip, span, is_alone(rule, strip) ? LEVELS : limit);
    }
}

static enum image_status remove_direction(const struct view *view, uint8_t peak)
{
    uint8_t *level = malloc(STRIPS * view->breadth);
    struct rule *rules = malloc(MOST_RULES * sizeof *rules);

    if (!level || !rules) {
        free(level);
        free(rules);
        return IMAGE_MEMORY;
    }
    find_levels(level, view, peak / 16);
    const size_t n = find_rules(rules, level, view);
    for (size_t i = 0; i < n; i++) {
        const int is_pale = rules[i].level < peak * 6 / 10;
        if (is_pale || n >= 3)
            erase_rule(view, &rules[i], is_pale ? rules[i].level * 3 / 2 + peak / 8 : peak);
    }
    free(level);
    free(rules);
    return IMAGE_OK;
}

enum image_status ink_remove_rules(struct ink *ink)
{
    const struct view horizontal = {ink->pixels, ink->width, ink->height, 1, ink->width};
    const struct view vertical = {ink->pixels, ink->height, ink->width, ink->width, 1};
    enum image_status status = IMAGE_OK;

    /* Below this no one sees rules, and a digit fills all strips. */
    if (ink->width < 8 * STRIPS || ink->height < 8 * STRIPS)
        return IMAGE_OK;
    status = remove_direction(&horizontal, ink->peak);
    return status == IMAGE_OK ? remove_direction(&vertical, ink->peak) : status;
}
