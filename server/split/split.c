/* split.c - see split.h: from a picture to candidates. */
#include "server/split/split.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/normalize/normalize.h"
#include "server/split/cuts.h"
#include "server/split/lines.h"

enum {
    MOST_PARTS = SPLIT_MOST_PIECES, /* before they are cut */
    LONGEST_RUN = 8,                /* pieces in a candidate */
    AREAS = 16,                     /* all candidates together have so many pictures' area */
    RIM = 32,                       /* ink above 1/32 of the peak still belongs to a stroke's rim */
};

/* All by the usual height. */
#define NARROW 0.5   /* what is no wider is not cut: two digits are wider */
#define WIDEST 1.4   /* a candidate of several pieces is not wider */
#define CLOSE 0.12   /* pieces so far apart may still be one digit */
#define LEAST 0.35   /* no digit is less tall than that */

/* A part, or what a cut left of one. */
struct piece {
    struct box box; /* in the ink's pixels */
    size_t part, line;
    int may_drop;
    double cut_left, cut_right; /* strokes' widths */
    size_t label;               /* 1 + its place before they were sorted */
};

/* A picture on its way. */
struct writing {
    struct ink ink;
    struct blots blots; /* label: of the pieces at last */
    double height;      /* that is usual */
    size_t n_parts, n_pieces;
    struct part parts[MOST_PARTS];
    struct piece pieces[SPLIT_MOST_PIECES];
};

static enum image_status refuse(struct image_message *message)
{
    snprintf(message->text, sizeof message->text,
             "the ink falls into more than %d pieces, too many to be digits", SPLIT_MOST_PIECES);
    return IMAGE_TOO_LARGE;
}

/* ---- Pieces ------------------------------------------------------------------------- */

static struct piece *add_piece(struct writing *writing, size_t part)
{
    struct piece *piece = &writing->pieces[writing->n_pieces++];
    *piece = (struct piece){
        .box = {writing->ink.width, writing->ink.height, 0, 0},
        .part = part,
        .line = writing->parts[part].line,
        .may_drop = writing->parts[part].is_small,
        .label = writing->n_pieces,
    };
    return piece;
}

/* Labels part k's pixels anew, as its pieces: MARK + the piece's label, since the blots'
 * labels are still in use. */
static enum image_status cut_part(struct writing *writing, size_t k, struct image_message *message)
{
    static const uint32_t MARK = (uint32_t)1 << 31;
    const struct part *part = &writing->parts[k];
    const size_t w = writing->ink.width, first = writing->n_pieces;
    const uint32_t own = (uint32_t)part->blot + 1;
    struct cuts cuts;
    cuts.n = 0;
    if (!part->is_small &&
        (double)(part->box.x1 - part->box.x0) > NARROW * writing->height &&
        cuts_find(&cuts, &writing->blots, &writing->ink, part->blot, writing->height) != IMAGE_OK)
        return IMAGE_MEMORY;
    if (first + cuts.n + 1 > SPLIT_MOST_PIECES)
        return refuse(message);
    for (size_t i = 0; i <= cuts.n; i++) {
        struct piece *piece = add_piece(writing, k);
        piece->cut_left = i > 0 ? cuts.list[i - 1].cost : 0;
        piece->cut_right = i < cuts.n ? cuts.list[i].cost : 0;
    }
    for (size_t y = part->box.y0; y < part->box.y1; y++)
        for (size_t x = part->box.x0; x < part->box.x1; x++) {
            uint32_t *label = &writing->blots.label[y * w + x];
            if (*label != own)
                continue;
            const size_t at = first + (cuts.n > 0 ? cuts_left_of(&cuts, &part->box, x, y) : 0);
            *label = MARK | (uint32_t)(at + 1);
            box_widen(&writing->pieces[at].box, x, y);
        }
    return IMAGE_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct piece *p = a, *q = b;
    if (p->line != q->line)
        return p->line < q->line ? -1 : 1;
    const size_t x = p->box.x0 + p->box.x1, y = q->box.x0 + q->box.x1;
    return x != y ? (x < y ? -1 : 1) : (p->label > q->label) - (p->label < q->label);
}

/* Puts the pieces in the order of writing, and labels their pixels so: 1 + the piece's
 * index, 0 for all that is none of them. */
static void sort_pieces(struct writing *writing)
{
    uint32_t order[SPLIT_MOST_PIECES + 1] = {0};
    const size_t count = writing->ink.width * writing->ink.height;
    size_t n = 0;
    for (size_t i = 0; i < writing->n_pieces; i++) /* a cut may leave nothing */
        if (writing->pieces[i].box.x1 > 0)
            writing->pieces[n++] = writing->pieces[i];
    writing->n_pieces = n;
    qsort(writing->pieces, n, sizeof *writing->pieces, by_place);
    for (size_t i = 0; i < n; i++)
        order[writing->pieces[i].label] = (uint32_t)i + 1;
    for (size_t i = 0; i < count; i++) {
        uint32_t *label = &writing->blots.label[i];
        *label = *label >> 31 ? order[*label & 0x7fffffff] : 0;
    }
}

/* Gives the soft rim of strokes, below the limit of blots, to the pieces beside it, step
 * by step outwards: a pixel or two, more in a blurred photograph. */
static void grow_rims(struct writing *writing)
{
    const size_t w = writing->ink.width, h = writing->ink.height;
    const size_t steps = 1 + (size_t)(writing->height / 20);
    const uint8_t limit = writing->ink.peak / RIM;
    uint32_t *label = writing->blots.label, *queue = writing->blots.stack;
    size_t n = 0, from = 0;
    for (size_t i = 0; i < w * h; i++)
        if (label[i])
            queue[n++] = (uint32_t)i;
    for (size_t step = 0; step < steps; step++)
        for (const size_t to = n; from < to; from++) {
            const size_t x = queue[from] % w, y = queue[from] / w;
            for (size_t v = y > 0 ? y - 1 : 0; v <= y + 1 && v < h; v++)
                for (size_t u = x > 0 ? x - 1 : 0; u <= x + 1 && u < w; u++) {
                    const size_t at = v * w + u;
                    if (label[at] || writing->ink.pixels[at] <= limit)
                        continue;
                    label[at] = label[queue[from]];
                    box_widen(&writing->pieces[label[at] - 1].box, u, v);
                    queue[n++] = (uint32_t)at;
                }
        }
}

static enum image_status find_pieces(struct writing *writing, struct image_message *message)
{
    enum image_status status = blots_find(&writing->blots, &writing->ink);
    if (status != IMAGE_OK)
        return status;
    writing->height = lines_height(&writing->blots, &writing->ink);
    if (writing->height < 1)
        return IMAGE_OK;
    writing->n_parts = lines_find(writing->parts, MOST_PARTS, &writing->blots, &writing->ink,
                                  writing->height);
    if (writing->n_parts > MOST_PARTS)
        return refuse(message);
    for (size_t k = 0; k < writing->n_parts; k++) {
        status = cut_part(writing, k, message);
        if (status != IMAGE_OK)
            return status;
    }
    sort_pieces(writing);
    grow_rims(writing);
    return IMAGE_OK;
}

/* ---- Candidates --------------------------------------------------------------------- */

static void unite(struct box *box, const struct box *other)
{
    box->x0 = other->x0 < box->x0 ? other->x0 : box->x0;
    box->y0 = other->y0 < box->y0 ? other->y0 : box->y0;
    box->x1 = other->x1 > box->x1 ? other->x1 : box->x1;
    box->y1 = other->y1 > box->y1 ? other->y1 : box->y1;
}

/* May a piece be of one digit with those before it, in that box? */
static int may_join(const struct writing *writing, const struct box *box, const struct piece *last,
                    const struct piece *piece)
{
    struct box all = *box;
    unite(&all, &piece->box);
    const double height = fmax(writing->height, (double)(all.y1 - all.y0));
    return piece->line == last->line && (double)(all.x1 - all.x0) <= WIDEST * height &&
           (piece->part == last->part ||
            (double)piece->box.x0 <= (double)box->x1 + CLOSE * writing->height);
}

/* Candidate first <= i < end, with its box in the ink's pixels; 0 when it is too low. */
static int make_candidate(struct split_candidate *candidate, const struct writing *writing,
                          size_t first, size_t end)
{
    struct box box = writing->pieces[first].box;
    for (size_t i = first + 1; i < end; i++)
        unite(&box, &writing->pieces[i].box);
    const double tall = (double)(box.y1 - box.y0) / writing->height;
    *candidate = (struct split_candidate){
        .first = first,
        .end = end,
        .line = writing->pieces[first].line,
        .box = box,
        .cut_left = (float)writing->pieces[first].cut_left,
        .cut_right = (float)writing->pieces[end - 1].cut_right,
        .tall = (float)tall,
        .wide = (float)((double)(box.x1 - box.x0) / writing->height),
    };
    return tall >= LEAST;
}

static enum image_status list_candidates(struct split *split, const struct writing *writing)
{
    size_t area = AREAS * writing->ink.width * writing->ink.height;
    split->n_pieces = writing->n_pieces;
    split->may_drop = calloc(writing->n_pieces + 1, 1);
    split->candidates = calloc(SPLIT_MOST_CANDIDATES, sizeof *split->candidates);
    if (!split->may_drop || !split->candidates)
        return IMAGE_MEMORY;
    for (size_t end = 1; end <= writing->n_pieces; end++) {
        split->may_drop[end - 1] = (uint8_t)writing->pieces[end - 1].may_drop;
        for (size_t first = end; first-- > 0 && end - first <= LONGEST_RUN;) {
            struct split_candidate *candidate = &split->candidates[split->n];
            /* Whether the run so far may go on to the left. */
            int joins = 1;
            struct box box = writing->pieces[first].box;
            for (size_t i = first + 1; i < end && joins; i++) {
                joins = may_join(writing, &box, &writing->pieces[i - 1], &writing->pieces[i]);
                unite(&box, &writing->pieces[i].box);
            }
            if (!joins)
                break;
            const size_t own = (box.x1 - box.x0) * (box.y1 - box.y0);
            const int is_single = end - first == 1;
            /* Room is left for the single pieces, without which there is no whole. */
            const size_t rest = writing->n_pieces - end;
            if (!is_single && (own > area || split->n + rest + 1 >= SPLIT_MOST_CANDIDATES))
                continue;
            area -= own < area ? own : area;
            split->n += (size_t)make_candidate(candidate, writing, first, end);
        }
    }
    return IMAGE_OK;
}

/* A candidate's ink alone, into the frame.  The ink of others in its box is left out. */
static enum image_status draw_candidate(float *digit, const struct normalize_form *form,
                                        const struct writing *writing,
                                        const struct split_candidate *candidate)
{
    const struct box *box = &candidate->box;
    const size_t w = box->x1 - box->x0, h = box->y1 - box->y0;
    struct ink own = writing->ink;
    own.width = w;
    own.height = h;
    own.pixels = calloc(w * h, 1);
    if (!own.pixels)
        return IMAGE_MEMORY;
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++) {
            const size_t at = (box->y0 + y) * writing->ink.width + box->x0 + x;
            const size_t label = writing->blots.label[at];
            if (label > candidate->first && label <= candidate->end)
                own.pixels[y * w + x] = writing->ink.pixels[at];
        }
    const enum image_status status =
        normalize_ink(digit, form, &own, &(struct box){0, 0, w, h});
    free(own.pixels);
    return status;
}

/* The box in the picture's own pixels. */
static void enlarge(struct box *box, const struct ink *ink, const struct image *image)
{
    const size_t x1 = box->x1 * ink->factor, y1 = box->y1 * ink->factor;
    *box = (struct box){box->x0 * ink->factor, box->y0 * ink->factor,
                        x1 < image->width ? x1 : image->width,
                        y1 < image->height ? y1 : image->height};
}

enum image_status split_image(struct split *split, const struct normalize_form *form,
                              const struct image *image, struct image_message *message)
{
    const size_t pixels = form->height * form->width;
    struct writing *writing = calloc(1, sizeof *writing);
    *split = (struct split){.n = 0};
    enum image_status status =
        writing ? normalize_find_ink(&writing->ink, image) : IMAGE_MEMORY;
    if (status == IMAGE_OK && writing->ink.pixels)
        status = find_pieces(writing, message);
    if (status == IMAGE_OK)
        status = list_candidates(split, writing);
    if (status == IMAGE_OK) {
        split->digits = calloc(split->n * pixels + 1, sizeof *split->digits);
        status = split->digits ? IMAGE_OK : IMAGE_MEMORY;
    }
    for (size_t i = 0; i < split->n && status == IMAGE_OK; i++) {
        status = draw_candidate(split->digits + i * pixels, form, writing,
                                &split->candidates[i]);
        enlarge(&split->candidates[i].box, &writing->ink, image);
    }
    if (writing) {
        blots_free(&writing->blots);
        free(writing->ink.pixels);
    }
    free(writing);
    if (status != IMAGE_OK) {
        split_free(split);
        *split = (struct split){.n = 0};
    }
    return status;
}

void split_free(struct split *split)
{
    free(split->may_drop);
    free(split->candidates);
    free(split->digits);
}
