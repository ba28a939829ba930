/*
 * routing_sheet.c - the rounds of routing as a sheet; see routing.h.
 *
 *              3            5         the winner and the runner-up
 *           winner      runner-up
 *   round 1 picture      picture      as the network saw it, dark on light, and the votes of
 *           length ...   length ...   its places: blue for the class, orange against it
 *   round 2 ...
 *           scale of the colours
 *
 * A place's vote lies where the place looks: at the middle of the pixels that it sees
 * (capsnet.h), which for the outermost ones is well inside the picture.  The cubic B-spline
 * smooths the map: each vote is a spot of four places across, and what all spots add up to
 * stays what the votes do.  A few votes are far larger than all others, so the strength of
 * a colour goes by the square root.  All pictures of a sheet have one scale of colours.
 */
#include <math.h>
#include <stdio.h>

#include "model/draw/canvas.h"
#include "model/draw/label.h"
#include "model/picture/png.h"
#include "server/answers/answers.h"
#include "server/answers/routing.h"

/* Blue and orange are told apart by every kind of colour vision. */
enum { PAPER = 0xffffff, INK = 0x222222, FAINT = 0xd0d0d0, FOR = 0x0062b8, AGAINST = 0xe26a00 };

enum {
    SPACE = 24,        /* pixels around the sheet, and between its pictures */
    SIDE = 224,        /* of a picture, about */
    LARGE = 4,         /* scale of the classes' letters */
    SMALL = 2,         /* of all other letters */
    GAP = 8,           /* between a picture and its text */
    BAR = 8,           /* height of a length's bar */
    SCALE = 16,        /* height of the scale of colours */
    COLUMNS = 2,
    LONGEST_LABEL = 9,
};

/* Of all sheets of a request: 48 MB while they are drawn. */
static const size_t max_pixels = (size_t)16 << 20;

/* Where things are on one sheet. */
struct sheet {
    size_t scale;         /* by which an image is enlarged */
    size_t width, height; /* of an image, enlarged */
    size_t left, top;     /* of the first picture */
    size_t row, column;   /* from one picture to the next */
    size_t all_width, all_height;
};

static struct sheet sheet_of(const struct capsnet_shape *shape)
{
    const size_t longest = shape->height > shape->width ? shape->height : shape->width;
    struct sheet s = {.scale = longest < SIDE ? SIDE / longest : 1};
    s.width = shape->width * s.scale;
    s.height = shape->height * s.scale;
    s.left = SPACE + canvas_text_width("round 10", SMALL) + SPACE;
    s.top = SPACE + LETTER_ROWS * (LARGE + SMALL) + GAP;
    s.row = s.height + GAP + BAR + GAP + LETTER_ROWS * SMALL + SPACE;
    const size_t least = canvas_text_width("length 0.000", SMALL);
    s.column = (s.width > least ? s.width : least) + SPACE;
    s.all_width = s.left + COLUMNS * s.column;
    s.all_height = s.top + shape->routing_iterations * s.row + SCALE + GAP +
                   2 * LETTER_ROWS * SMALL + SPACE;
    return s;
}

/* ---- Votes to colours ------------------------------------------------------- */

/* One axis of the map at a point of the picture: the places around it, and the share that
 * it has of each, by the cubic B-spline.  Beyond the outermost middles there are fewer. */
struct axis {
    size_t first, n; /* places */
    double share[4];
};

/* at: in places, 0 at the middle of the first one's field. */
static struct axis axis_at(double at, size_t places)
{
    struct axis axis = {.first = at >= 1 ? (size_t)at - 1 : 0};
    for (size_t p = axis.first; p < places && (double)p - at < 2; p++) {
        const double d = fabs(at - (double)p), rest = 2 - d;
        axis.share[axis.n++] = d >= 2  ? 0
                               : d < 1 ? 2.0 / 3 - d * d * (2 - d) / 2
                                       : rest * rest * rest / 6;
    }
    return axis;
}

/* The smoothed map [h][w] there. */
static double vote_at(const float *votes, size_t w, const struct axis *v, const struct axis *u)
{
    double vote = 0;
    for (size_t i = 0; i < v->n; i++)
        for (size_t k = 0; k < u->n; k++)
            vote += v->share[i] * u->share[k] * (double)votes[(v->first + i) * w + u->first + k];
    return vote;
}

/* From an enlarged pixel to places. */
static double place_of(const struct capsnet_shape *shape, size_t pixel, size_t scale)
{
    const double middle = (double)capsnet_field(shape) / 2;
    return (((double)pixel + 0.5) / (double)scale - middle) / (double)shape->primary_stride;
}

/* Lays a colour over paper, share 0 to 1, and ink over both. */
static uint32_t mix(uint32_t colour, double share, double ink)
{
    uint32_t out = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
        const double paper = PAPER >> shift & 255, c = colour >> shift & 255;
        const double lit = paper + share * (c - paper), dark = INK >> shift & 255;
        out |= (uint32_t)lround(lit + 0.7 * ink * (dark - lit)) << shift;
    }
    return out;
}

/* The colour of a vote, -1 to 1. */
static uint32_t colour_of(double vote, double ink)
{
    return mix(vote < 0 ? AGAINST : FOR, sqrt(fmin(1, fabs(vote))), ink);
}

static double ink_at(const struct capsnet_shape *shape, const float *digit, size_t y, size_t x)
{
    double sum = 0;
    for (size_t c = 0; c < shape->channels; c++)
        sum += (double)digit[(y * shape->width + x) * shape->channels + c];
    return fmin(1, fmax(0, sum / (double)shape->channels));
}

/* The digit with votes [h][w] in it, where most is the strongest colour. */
static void draw_votes(struct image *picture, size_t left, size_t top, const struct sheet *s,
                       const struct capsnet_shape *shape, const float *digit, const float *votes,
                       double most)
{
    const size_t h = capsnet_places(shape, shape->height), w = capsnet_places(shape, shape->width);
    for (size_t y = 0; y < s->height; y++) {
        const struct axis v = axis_at(place_of(shape, y, s->scale), h);
        for (size_t x = 0; x < s->width; x++) {
            const struct axis u = axis_at(place_of(shape, x, s->scale), w);
            const double vote = most > 0 ? vote_at(votes, w, &v, &u) / most : 0;
            canvas_fill(picture, left + x, top + y, 1, 1,
                        colour_of(vote, ink_at(shape, digit, y / s->scale, x / s->scale)));
        }
    }
}

/* ---- The sheet ------------------------------------------------------------- */

/* A text whose share (0 left edge, 1/2 middle, 1 right edge) stands at x. */
static void draw_text(struct image *picture, size_t x, double share, size_t y, size_t scale,
                      const char *text)
{
    const size_t left = (size_t)lround(share * (double)canvas_text_width(text, scale));
    canvas_text(picture, x > left ? x - left : 0, y, scale, INK, text);
}

static void draw_middle(struct image *picture, size_t x, size_t y, size_t scale, const char *text)
{
    draw_text(picture, x, 0.5, y, scale, text);
}

/* A frame of one pixel around a place. */
static void draw_frame(struct image *picture, size_t x, size_t y, size_t width, size_t height)
{
    canvas_fill(picture, x - 1, y - 1, width + 2, 1, FAINT);
    canvas_fill(picture, x - 1, y + height, width + 2, 1, FAINT);
    canvas_fill(picture, x - 1, y, 1, height, FAINT);
    canvas_fill(picture, x + width, y, 1, height, FAINT);
}

static void draw_length(struct image *picture, size_t x, size_t y, size_t width, double length)
{
    char text[32];
    draw_frame(picture, x, y, width, BAR);
    canvas_fill(picture, x, y, (size_t)lround(length * (double)width), BAR, INK);
    snprintf(text, sizeof text, "length %.3f", length);
    draw_middle(picture, x + width / 2, y + BAR + GAP, SMALL, text);
}

/* What the colours mean, from -most to most; the ticks are where the root is a half, too. */
static void draw_scale(struct image *picture, size_t left, size_t y, size_t width, double most)
{
    static const double TICKS[] = {-1, -0.5, 0, 0.5, 1};
    enum { N = sizeof TICKS / sizeof *TICKS };
    char text[32];
    draw_frame(picture, left, y, width, SCALE);
    for (size_t x = 0; x < width; x++) {
        const double root = 2 * ((double)x + 0.5) / (double)width - 1;
        canvas_fill(picture, left + x, y, 1, SCALE, colour_of(root * fabs(root), 0));
    }
    y += SCALE + GAP;
    for (size_t i = 0; i < N; i++) {
        snprintf(text, sizeof text, i == N / 2 ? "0" : "%.2f", TICKS[i] * fabs(TICKS[i]) * most);
        draw_text(picture, left + i * width / (N - 1), i == 0 ? 0 : i == N - 1 ? 1 : 0.5, y, SMALL,
                  text);
    }
    y += LETTER_ROWS * SMALL;
    draw_text(picture, left, 0, y, SMALL, "against");
    draw_middle(picture, left + width / 2, y, SMALL, "votes");
    draw_text(picture, left + width, 1, y, SMALL, "for");
}

/* The largest smoothed vote, for or against, in any round, of the columns' classes. */
static double largest_vote(const struct capsnet_shape *shape, const float *votes,
                           const size_t classes[COLUMNS])
{
    const size_t h = capsnet_places(shape, shape->height), w = capsnet_places(shape, shape->width);
    double most = 0;
    for (size_t r = 0; r < shape->routing_iterations; r++)
        for (size_t k = 0; k < COLUMNS; k++)
            for (size_t p = 0; p < h * w; p++) {
                const struct axis v = axis_at((double)(p / w), h), u = axis_at((double)(p % w), w);
                const float *map = votes + (r * shape->classes + classes[k]) * h * w;
                most = fmax(most, fabs(vote_at(map, w, &v, &u)));
            }
    return most;
}

/* The sheet of image i, from y on. */
static void draw_sheet(struct image *picture, size_t y, const struct sheet *s,
                       const struct request *request, size_t i)
{
    static const char *const PLACES[COLUMNS] = {"winner", "runner-up"};
    const struct capsnet_model *model = request->engine->model;
    const struct capsnet_shape *shape = request_shape(request);
    const struct capsnet_routing *routing = &request->job.routing[i];
    const size_t map = capsnet_places(shape, shape->height) * capsnet_places(shape, shape->width);
    const size_t winner = request->job.picture_classes[i];
    const size_t classes[COLUMNS] = {
        winner, next_longest(request->job.lengths + i * shape->classes, shape->classes, winner)};
    const double most = largest_vote(shape, routing->votes, classes);
    char text[64];
    for (size_t k = 0; k < COLUMNS; k++) {
        const size_t x = s->left + k * s->column, middle = x + s->width / 2;
        draw_middle(picture, middle, y + SPACE, LARGE,
                    label_of_class(text, model, classes[k], LONGEST_LABEL));
        draw_middle(picture, middle, y + SPACE + LETTER_ROWS * LARGE, SMALL, PLACES[k]);
        for (size_t r = 0; r < shape->routing_iterations; r++) {
            const size_t at = r * shape->classes + classes[k], top = y + s->top + r * s->row;
            draw_frame(picture, x, top, s->width, s->height);
            draw_votes(picture, x, top, s, shape, request->digits + i * capsnet_pixels(shape),
                       routing->votes + at * map, most);
            draw_length(picture, x, top + s->height + GAP, s->width, (double)routing->lengths[at]);
        }
    }
    for (size_t r = 0; r < shape->routing_iterations; r++) {
        snprintf(text, sizeof text, "round %zu", r + 1);
        canvas_text(picture, SPACE, y + s->top + r * s->row + (s->height - LETTER_HEIGHT * SMALL) / 2,
                    SMALL, INK, text);
    }
    draw_scale(picture, s->left, y + s->top + shape->routing_iterations * s->row,
               s->column + s->width, most);
}

unsigned routing_check_sheets(struct request *request)
{
    const struct sheet s = sheet_of(request_shape(request));
    const size_t n = request->job.n_images, most = max_pixels / (s.all_width * s.all_height);
    if (n <= most)
        return 0;
    return request_refuse(request, REFUSED_INVALID_PARAMETER,
                          "routing: sheets of %zu images would be too large a picture, %zu at "
                          "most; ask for fewer, or for application/json", n, most);
}

unsigned routing_answer_sheets(struct request *request)
{
    const struct sheet s = sheet_of(request_shape(request));
    const size_t n = request->job.n_images;
    struct capsnet_error error;
    struct image picture;
    uint8_t *png;
    size_t nbytes;
    if (canvas_create(&picture, s.all_width, n * s.all_height, PAPER, &error) != CAPSNET_OK)
        return request_refuse_no_memory(request);
    for (size_t i = 0; i < n; i++)
        draw_sheet(&picture, i * s.all_height, &s, request, i);
    const enum image_status status = png_encode(&png, &nbytes, &picture);
    image_free(&picture);
    if (status != IMAGE_OK)
        return request_refuse_no_memory(request);
    return request_answer_bytes(request, "image/png", png, nbytes);
}
