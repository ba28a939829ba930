/*
 * test_promises.c - what capsnet.h promises of the whole network, at every CPU
 * level: an image's answer is its own, threads do not change a bit, the
 * forward pass allocates nothing, and no weights or images make a length that
 * is no probability.  SEED repeats the random weights and images.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/common/small_network.h"
#include "model/inference/inference.h"
#include "model/machine/huge_pages.h"
#include "model/train/learn/gradient.h"
#include "model/weights_file/float_formats.h"

/* ---- Counting allocations ------------------------------------------------- */

#if defined(__has_feature) /* clang's way to say __SANITIZE_...__ */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(SANITIZED) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    !defined(__GLIBC__)
#define COUNTING 0
#else
#define COUNTING 1
#endif

static atomic_size_t allocations;

#if COUNTING
/* These stand before the C library's own; it exports its allocator under these
 * second names.  Calls from inside the C library come through here as well. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
void *memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t n, size_t size)
{
    allocations++;
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t size)
{
    allocations++;
    return __libc_realloc(p, size);
}
void *memalign(size_t alignment, size_t size)
{
    allocations++;
    return __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __libc_memalign(alignment, size);
}
int posix_memalign(void **p, size_t alignment, size_t size)
{
    allocations++;
    *p = __libc_memalign(alignment, size);
    return *p ? 0 : 12; /* ENOMEM */
}
#endif

/* ---- Helpers -------------------------------------------------------------- */

/* Every promise is kept in every precision: the one that is being tested. */
static const char *precision;

static void in_every_precision(void (*test)(const struct kernels *, struct random *,
                                            struct worst *),
                               const struct kernels *k, struct random *random,
                               struct worst *worst)
{
    static const char *const all[] = {"f32", "bf16", "int8"};
    for (size_t p = 0; p < 3; p++) {
        precision = all[p];
        if ((p == PRECISION_BF16 && !k->gemm_bf16) || (p == PRECISION_INT8 && !k->gemm_int8))
            print_message("  %s: skipped, level %s has no such instructions\n", precision,
                          k->level);
        else
            test(k, random, worst);
    }
}

struct answers {
    size_t n;
    float *lengths, *poses, *pictures; /* pictures: of each image's class 1 */
};

static struct answers answers_room(const struct small *s, size_t n)
{
    return (struct answers){n, check_floats(n * s->shape.classes),
                            check_floats(n * s->at->outputs), check_floats(n * s->at->pixels)};
}

static struct capsnet_workspace *workspace(const struct small *s, size_t n, size_t threads,
                                           int training)
{
    struct capsnet_workspace *ws = NULL;
    struct capsnet_error error = {""};
    if (workspace_create(&ws, s->model, n, threads, training, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    return ws;
}

/* Images of the largest batch: 2 and 3 threads take parts of it. */
enum { MOST = 97 };

static void answer(struct capsnet_workspace *ws, const struct small *s, const float *images,
                   struct answers *a)
{
    const size_t pose = s->shape.pose_dims;
    float one[MOST * 16];
    size_t classes[MOST];
    assert_true(a->n <= MOST && pose <= 16);
    capsnet_forward(ws, a->n, images, a->lengths, a->poses);
    for (size_t i = 0; i < a->n; i++) {
        classes[i] = 1; /* not the winner: rounding may decide a tie */
        memcpy(one + i * pose, a->poses + i * s->at->outputs + classes[i] * pose,
               pose * sizeof *one);
    }
    capsnet_decode(ws, a->n, one, classes, a->pictures);
}

/* Image i of one answer and image k of another are the same bits. */
static void same_image(const struct small *s, const struct answers *a, size_t i,
                       const struct answers *b, size_t k, const char *what)
{
    const size_t classes = s->shape.classes, outputs = s->at->outputs, pixels = s->at->pixels;
    check_bits(a->lengths + i * classes, b->lengths + k * classes, classes, what);
    check_bits(a->poses + i * outputs, b->poses + k * outputs, outputs, what);
    check_bits(a->pictures + i * pixels, b->pictures + k * pixels, pixels, what);
}

/* ---- Neighbours ----------------------------------------------------------- */

/* conv1's channels from `first` on answer to images of ones, not to others. */
static void fire_for_full_images(struct small *s, size_t first)
{
    const size_t channels = s->shape.conv1_channels, taps = s->at->conv1_taps;
    for (size_t o = first; o < channels; o++) {
        double sum = 0;
        for (size_t tap = 0; tap < taps; tap++) {
            double *w = &s->tensor[T_CONV1_W][o * taps + tap];
            *w = fabs(*w);
            sum += *w;
        }
        s->tensor[T_CONV1_B][o] = (double)(float)(-0.9 * sum);
    }
    small_load(s);
}

/* The same image at every place of a batch, among other neighbours each time
 * (random, empty, full ones, of which only the full ones use the last channels), in a
 * workspace that other batches went through: the same bits.  A few images are the direct
 * plan, more the spectral. */
static void try_neighbours(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const size_t sizes[] = {2, 4, 5, 16, 17, 35};
    struct small s;
    struct capsnet_shape shape = small_shape();
    shape.width = 33; /* two tiles */
    shape.conv1_channels = 2 * KERNEL_PAD;
    small_create_in(&s, &shape, k->level, precision, random);
    fire_for_full_images(&s, KERNEL_PAD);
    const size_t pixels = s.at->pixels;
    struct capsnet_workspace *ws = workspace(&s, 40, 1, 0);
    const float *image = small_images(&s, 1, random);
    for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++) {
        const size_t n = sizes[b];
        struct answers first = answers_room(&s, n), now = answers_room(&s, n);
        for (size_t place = 0; place < n; place += n > 5 ? 3 : 1) {
            float *images = small_images(&s, n, random);
            for (size_t i = 0; i < n; i++)
                for (size_t p = 0; i % 5 == place % 5 && p < pixels; p++)
                    images[i * pixels + p] = place % 2 ? 0 : 1;
            memcpy(images + place * pixels, image, pixels * sizeof *images);
            answer(ws, &s, images, place ? &now : &first);
            if (place)
                same_image(&s, &first, 0, &now, place, "an image at another place");
        }
        worst->values++;
    }
    capsnet_workspace_free(ws);
    capsnet_model_free(s.model);
}

/* conv1's channels in another order are the same network, up to rounding: PrimaryCaps' values,
 * which are about 1, to 2e-5 for one image, directly, and in the root mean square of many, whose
 * farthest may be as far as one plan is from the other (1e-4 below).  Lengths would tell less:
 * where routing is bf16, another rounding of one u is 100 times that. */
static void try_channels(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const size_t sizes[] = {1, 20};
    struct small s;
    struct capsnet_shape shape = small_shape();
    struct capsnet_error error;
    shape.conv1_channels = 2 * KERNEL_PAD + 5;
    small_create_in(&s, &shape, k->level, precision, random);
    fire_for_full_images(&s, KERNEL_PAD);
    for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++) {
        const size_t n = sizes[b];
        const float *images = small_images(&s, n, random);
        const size_t values = n * s.at->positions * s.at->primary_row;
        struct answers unread = answers_room(&s, n);
        struct capsnet_workspace *ws = workspace(&s, n, 1, 0);
        float *plain = check_floats(values);
        answer(ws, &s, images, &unread);
        memcpy(plain, ws->primary, values * sizeof *plain);
        assert_int_equal(model_order_channels(s.model, &error), CAPSNET_OK);
        assert_int_equal(model_pack(s.model, &error), CAPSNET_OK);
        const float *bias = s.model->parameters + s.at->conv1_bias;
        assert_true(bias[shape.conv1_channels - 1] < bias[0]);
        answer(ws, &s, images, &unread);
        double squares = 0;
        for (size_t i = 0; i < values; i++) {
            const double off = (double)ws->primary[i] - (double)plain[i];
            check_value(worst, off, 0, n == 1 ? 2e-5 : 1e-4, "%zu images, %s, value %zu", n,
                        precision, i);
            squares += off * off;
        }
        check_value(worst, sqrt(squares / (double)values), 0, 2e-5,
                    "%zu images, %s, root mean square", n, precision);
        capsnet_workspace_free(ws);
        small_load(&s);
    }
    capsnet_model_free(s.model);
}

/* The order of a batch turns its answers round and does nothing else; nor does
 * the largest batch that the workspace was made for. */
static void try_order(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const size_t sizes[] = {3, 7, 20};
    struct small s;
    struct capsnet_shape shape = small_shape();
    small_create_in(&s, &shape, k->level, precision, random);
    const size_t pixels = s.at->pixels;
    for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++) {
        const size_t n = sizes[b];
        struct capsnet_workspace *tight = workspace(&s, n, 1, 0);
        struct capsnet_workspace *wide = workspace(&s, 64, 1, 0);
        struct answers first = answers_room(&s, n), turned = answers_room(&s, n);
        const float *images = small_images(&s, n, random);
        float *reversed = check_floats(n * pixels);
        for (size_t i = 0; i < n; i++)
            memcpy(reversed + (n - 1 - i) * pixels, images + i * pixels,
                   pixels * sizeof *reversed);
        answer(tight, &s, images, &first);
        answer(wide, &s, reversed, &turned);
        for (size_t i = 0; i < n; i++)
            same_image(&s, &first, i, &turned, n - 1 - i, "a batch in another order");
        worst->values++;
        capsnet_workspace_free(tight);
        capsnet_workspace_free(wide);
    }
    capsnet_model_free(s.model);
}

static double farthest(const double *a, const double *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

/* How far PrimaryCaps' values may be off in f32, by either plan, as a part of their root mean
 * square. */
static const double PRIMARY_F32 = 5e-5;

/* How far an image's length, pose or pixel (of class 1) moves at most when PrimaryCaps'
 * values move by that at random. */
static double sensitivity(const struct small *s, const float *image, struct random *random)
{
    enum { TRIES = 4 };
    struct small_answer want, moved;
    double square = 0, most = 0;
    const size_t n = s->at->positions * s->at->primary_channels;
    small_answer_room(&want, s);
    small_answer_room(&moved, s);
    small_reference(&want, s, s->tensor, image, 1, 1);
    for (size_t i = 0; i < n; i++)
        square += want.primary[i] * want.primary[i];
    for (size_t t = 0; t < TRIES; t++) {
        for (size_t i = 0; i < n; i++) /* uniform: its root mean square is 1 over sqrt(3) */
            moved.primary[i] = want.primary[i] + sqrt(3 * square / (double)n) * PRIMARY_F32 *
                                                     random_real(random);
        small_reference_on(&moved, s, s->tensor, image, 1, 1);
        most = fmax(most, farthest(moved.lengths, want.lengths, s->shape.classes));
        most = fmax(most, farthest(moved.poses, want.poses, s->at->outputs));
        most = fmax(most, farthest(moved.picture, want.picture, s->at->pixels));
    }
    return most;
}

/* Of values in [0,1]: each in f32, their root mean square in the others. */
static void check_alike(struct worst *worst, const float *got, const float *want, size_t n,
                        double bound, int is_f32, const char *what, size_t batch)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double off = (double)got[i] - (double)want[i];
        if (is_f32)
            check_value(worst, (double)got[i], (double)want[i], bound, "%s in a batch of %zu",
                        what, batch);
        sum += off * off;
    }
    if (!is_f32)
        check_value(worst, sqrt(sum / (double)n), 0, bound, "%s in a batch of %zu", what, batch);
}

/* Alone, in few and in many, whichever the plan: in f32 what becomes of PrimaryCaps'
 * rounding, and in bf16 and int8, whose direct and spectral plans round different things to
 * 8 bits, what routing of small random networks makes of that, which is 0.2 here and there. */
static void try_sizes(const struct kernels *k, struct random *random, struct worst *worst)
{
    enum { N = 21 };
    struct small s;
    struct capsnet_shape shape = small_shape();
    shape.classes = 10;
    shape.conv1_channels = 32;
    shape.primary_types = 8;
    shape.height = shape.width = 28;
    small_create_in(&s, &shape, k->level, precision, random);
    struct capsnet_workspace *ws = workspace(&s, N, 1, 0);
    const int is_f32 = s.model->precision == PRECISION_F32;
    const float *images = small_images(&s, N, random);
    struct answers alone[N], all = answers_room(&s, N);
    double bounds[N];
    for (size_t i = 0; i < N; i++) {
        alone[i] = answers_room(&s, 1);
        answer(ws, &s, images + i * s.at->pixels, &alone[i]);
        bounds[i] = is_f32 ? sensitivity(&s, images + i * s.at->pixels, random) : 0.1;
    }
    double least = bounds[0], most = bounds[0];
    for (size_t i = 1; i < N; i++) {
        least = fmin(least, bounds[i]);
        most = fmax(most, bounds[i]);
    }
    print_message("  %s: an image may differ by %.1e to %.1e\n", precision, least, most);
    static const size_t sizes[] = {2, 3, 4, 5, 6, 16, 17, N};
    for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++) {
        all.n = sizes[b];
        answer(ws, &s, images, &all);
        for (size_t i = 0; i < all.n; i++) {
            check_alike(worst, all.lengths + i * shape.classes, alone[i].lengths, shape.classes,
                        bounds[i], is_f32, "lengths", all.n);
            check_alike(worst, all.poses + i * s.at->outputs, alone[i].poses, s.at->outputs,
                        bounds[i], is_f32, "poses", all.n);
            check_alike(worst, all.pictures + i * s.at->pixels, alone[i].pictures, s.at->pixels,
                        bounds[i], is_f32, "pixels", all.n);
        }
    }
    capsnet_workspace_free(ws);
    capsnet_model_free(s.model);
}

/* PrimaryCaps of either plan against double precision: what its roundings come to,
 * as a part of the root mean square of its values.  Of 8 bits each operand rounds by
 * 1/127 of its largest magnitude over sqrt(12), 0.008 of its root mean square where
 * that is 3.5 times smaller; the points add a sixth (network/winograd.c). */
static void try_kernel(const struct kernels *k, struct random *random, struct worst *worst,
                       size_t kernel)
{
    enum { N = 4 };
    const double bounds[PRECISIONS] = {PRIMARY_F32, 0.03, 0.03};
    struct small s;
    struct capsnet_shape shape = small_shape();
    shape.height = 40; /* two tiles and a half */
    shape.width = 21;  /* a column of conv1 that no word of two begins with */
    shape.conv1_channels = 48;
    shape.primary_kernel = kernel;
    shape.primary_types = 11;
    small_create_in(&s, &shape, k->level, precision, random);
    struct capsnet_workspace *ws = workspace(&s, N, 1, 0);
    const float *images = small_images(&s, N, random);
    float lengths[N * 16], poses[N * 16 * 16];
    for (enum plan plan = PLAN_DIRECT; plan < PLANS; plan++) {
        double error = 0, size = 0;
        forward_by_plan(ws, plan, N, images, lengths, poses, NULL);
        for (size_t i = 0; i < N; i++) {
            struct small_answer want;
            small_answer_room(&want, &s);
            small_reference(&want, &s, s.tensor, images + i * s.at->pixels, 0, 0);
            for (size_t p = 0; p < s.at->positions; p++)
                for (size_t o = 0; o < s.at->primary_channels; o++) {
                    const double x = want.primary[p * s.at->primary_channels + o];
                    const size_t at = (i * s.at->positions + p) * s.at->primary_row + o;
                    error += pow((double)ws->primary[at] - x, 2);
                    size += x * x;
                }
        }
        check_value(worst, sqrt(error / size), 0, bounds[s.model->precision],
                    "PrimaryCaps in %s, kernel of %zu, plan %d", precision, kernel, (int)plan);
        print_message("  %s, kernel of %zu, plan %d: %.1e\n", precision, kernel, (int)plan,
                      sqrt(error / size));
    }
    capsnet_workspace_free(ws);
    capsnet_model_free(s.model);
    check_release();
}

/* Of 1 to 10 columns, which are words of two and of four and those left over. */
static void try_primary(const struct kernels *k, struct random *random, struct worst *worst)
{
    for (size_t kernel = 1; kernel <= 10; kernel++)
        try_kernel(k, random, worst, kernel);
}

/* ---- Threads -------------------------------------------------------------- */

static void try_threads(const struct kernels *k, struct random *random, struct worst *worst)
{
    /* Of the direct plan, on two and three threads: one for each, groups, and those left over. */
    static const size_t sizes[] = {1, 2, 3, 5, 11, 19, MOST};
    struct small s;
    struct capsnet_shape shape = small_shape();
    shape.width = 33;
    shape.primary_types = 9;
    shape.decoder_hidden[0] = 130;
    small_create_in(&s, &shape, k->level, precision, random);
    float *grad[3];
    for (size_t t = 0; t < 3; t++)
        grad[t] = huge_alloc(s.at->total * sizeof(float));
    for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++) {
        const size_t n = sizes[b];
        const float *images = small_images(&s, n, random);
        uint8_t labels[MOST];
        struct answers a[3];
        struct batch_result result[3];
        for (size_t i = 0; i < n; i++)
            labels[i] = (uint8_t)random_below(random, shape.classes);
        for (size_t t = 0; t < 3; t++) {
            struct capsnet_workspace *ws = workspace(&s, n, t + 1, 0);
            float *lengths = check_floats(n * shape.classes);
            float *poses = check_floats(n * s.at->outputs);
            a[t] = answers_room(&s, n);
            answer(ws, &s, images, &a[t]);
            capsnet_workspace_free(ws);
            for (size_t i = 0; i < n; i++)
                same_image(&s, &a[0], i, &a[t], i, "another number of threads");
            if (s.model->precision != PRECISION_F32 || n > 32) /* training is */
                continue;
            struct capsnet_workspace *training = workspace(&s, n, t + 1, 1);
            const struct batch batch = {.n = n, .images = images, .targets = images,
                                        .labels = labels, .alpha = 0.02f};
            batch_gradient(training, &batch, grad[t], lengths, poses, &result[t]);
            capsnet_workspace_free(training);
            check_bits(grad[t], grad[0], s.at->total, "a gradient on more threads");
            assert_true(result[t].loss == result[0].loss && result[t].loss > 0);
            worst->values++;
        }
    }
    for (size_t t = 0; t < 3; t++)
        huge_free(grad[t], s.at->total * sizeof(float));
    capsnet_model_free(s.model);
}

/* ---- Allocations ---------------------------------------------------------- */

/* The process's address space, which shows a mmap. */
static size_t address_space_pages(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%zu", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    return pages;
}

static void try_allocations(const struct kernels *k, struct random *random, struct worst *worst)
{
    if (!COUNTING) {
        print_message("  skipped: the allocator cannot be counted under a sanitizer\n");
        return;
    }
    static const size_t sizes[] = {1, 4, 5, 20};
    struct small s;
    struct capsnet_shape shape = small_shape();
    small_create_in(&s, &shape, k->level, precision, random);
    const float *images = small_images(&s, 20, random);
    struct answers a = answers_room(&s, 20);
    struct capsnet_workspace *ws = workspace(&s, 20, 2, 0);
    const size_t probe = allocations;
    void *volatile counted = malloc(1);
    free(counted);
    assert_int_equal(allocations, probe + 1); /* the counter counts */

    (void)address_space_pages(); /* stdio's own buffers come and go */
    const size_t pages = address_space_pages(), before = allocations;
    for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++) {
        a.n = sizes[b];
        answer(ws, &s, images, &a); /* nothing is warmed up: the first run counts too */
        worst->values++;
    }
    const size_t after = allocations;
    assert_int_equal(after, before);
    assert_int_equal(address_space_pages(), pages);
    capsnet_workspace_free(ws);
    capsnet_model_free(s.model);
}

/* ---- Hostile weights ------------------------------------------------------ */

/* Lengths must be 0 to 1 and pixels 0 to 1 for both plans. */
static size_t bad_answers(struct small *s, struct capsnet_workspace *ws, const float *images,
                          size_t n)
{
    struct answers a = answers_room(s, n);
    size_t bad = 0;
    answer(ws, s, images, &a);
    for (size_t i = 0; i < n * s->shape.classes; i++)
        bad += !(a.lengths[i] >= 0 && a.lengths[i] <= 1);
    for (size_t i = 0; i < n * s->at->outputs; i++)
        bad += !(fabsf(a.poses[i]) <= 1);
    for (size_t i = 0; i < n * s->at->pixels; i++)
        bad += !(a.pictures[i] >= 0 && a.pictures[i] <= 1);
    return bad;
}

/* Multiplies a tensor by that, within the +-65504 that a file may hold. */
static void scale_tensor(struct small *s, size_t t, double factor)
{
    for (size_t i = 0; i < s->count[t]; i++)
        s->tensor[t][i] =
            (double)(float)fmax(-65504, fmin(65504, s->tensor[t][i] * factor));
}

/* One tensor or (t = SMALL_TENSORS) all of them times factor, on empty, full,
 * striped and random images. */
static void check_hostile(const struct kernels *k, struct random *random, size_t t, double factor)
{
    enum { N = 6 };
    struct small s;
    struct capsnet_shape shape = small_shape();
    shape.conv1_channels = 64;
    small_create_in(&s, &shape, k->level, precision, random);
    struct capsnet_workspace *ws = workspace(&s, N, 1, 0);
    float *images = small_images(&s, N, random);
    for (size_t p = 0; p < s.at->pixels; p++) {
        images[p] = 0;
        images[s.at->pixels + p] = 1;
        images[2 * s.at->pixels + p] = (float)(p % 2);
    }
    for (size_t i = 0; i < SMALL_TENSORS; i++)
        if (t == i || t == SMALL_TENSORS)
            scale_tensor(&s, i, factor);
    small_load(&s);
    const size_t direct = bad_answers(&s, ws, images, 3), spectral = bad_answers(&s, ws, images, N);
    if (direct || spectral)
        fail_msg("%s times %g: %zu values are out of range directly, %zu spectrally",
                 t < SMALL_TENSORS ? small_names[t] : "everything", factor, direct, spectral);
    capsnet_workspace_free(ws);
    capsnet_model_free(s.model);
    check_release();
}

static void try_hostile(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const double factors[] = {0, 1e-38, 1e-10, 30, 1e3, 1e6, 1e30};
    for (size_t f = 0; f < sizeof factors / sizeof *factors; f++)
        for (size_t t = 0; t <= SMALL_TENSORS; t++, worst->values++)
            check_hostile(k, random, t, factors[f]);
}

/* ---- fp16 ------------------------------------------------------------------- */

/* Any fp16 below 1 now and then, else a value near x. */
static double some_f16(struct random *random, size_t i, double x)
{
    const unsigned short any = (unsigned short)(random_below(random, 2) << 15 |
                                                random_below(random, 0x3c00));
    return (double)safetensors_f32_from_f16(i % 50 == 0 ? any : safetensors_f16_from_f32((float)x));
}

/* PrimaryCaps' weights in fp16 are the parameters, in panels as they are there; the decoder's are
 * those of the file. */
static void check_halves(const struct small *s)
{
    const float *w = s->model->parameters + s->at->primary_weight;
    for (size_t i = 0; i < s->at->primary_taps * s->at->primary_row; i++)
        assert_int_equal(((const uint16_t *)s->model->packed.primary)[i],
                         safetensors_f16_from_f32(w[i]));
    static const enum small_tensor tensors[] = {T_DENSE0_W, T_DENSE1_W, T_DENSE2_W};
    for (size_t l = 0; l < 3; l++) {
        const size_t in = s->at->in[l], out = s->at->out[l], in_row = s->at->in_row[l];
        const uint16_t *halves = s->model->packed.decoder[l];
        for (size_t o = 0; o < out; o++)
            for (size_t i = 0; i < in; i++)
                assert_int_equal(halves[(o / KERNEL_PANEL * in_row + i) * KERNEL_PANEL +
                                        o % KERNEL_PANEL],
                                 safetensors_f16_from_f32((float)s->tensor[tensors[l]][o * in + i]));
    }
}

static void check_forms(const struct small *s, enum weight_form primary, enum weight_form digit,
                        enum weight_form decoder)
{
    assert_int_equal(s->model->packed.primary_form, primary);
    assert_int_equal(s->model->packed.digit_form, digit);
    for (size_t l = 0; l < 3; l++)
        assert_int_equal(s->model->packed.decoder_form[l], decoder);
}

/* In f32 weights that are all of them numbers of fp16 are read as such where the level can,
 * and give the bits that they give in fp32; one that is none is kept. */
static void test_f16(const struct kernels *k, struct random *random, struct worst *worst)
{
    static const enum small_tensor tensors[] = {T_PRIMARY_W, T_DIGIT_W, T_DENSE0_W, T_DENSE1_W,
                                                T_DENSE2_W};
    static const double others[] = {65520, 1e-8, 1.00048828125 + 1.0 / 4096, 3e38};
    const enum weight_form form = k->predict_images_f16 ? FORM_F16 : FORM_F32;
    struct kernels without = *k;
    struct capsnet_shape shape = small_shape();
    struct small s;
    without.predict_images_f16 = NULL;
    without.gemm_sparse_f16 = NULL;
    shape.decoder_hidden[0] = 40;
    shape.decoder_hidden[1] = 70;
    small_create(&s, &shape, k->level, random);
    check_forms(&s, FORM_F32, FORM_F32, FORM_F32);
    for (size_t t = 0; t < sizeof tensors / sizeof *tensors; t++)
        for (size_t i = 0; i < s.count[tensors[t]]; i++)
            s.tensor[tensors[t]][i] = some_f16(random, i, s.tensor[tensors[t]][i]);
    for (size_t n = 1; n <= 4; n++, worst->values++) {
        const float *images = small_images(&s, n, random);
        struct answers a[2] = {answers_room(&s, n), answers_room(&s, n)};
        for (size_t i = 0; i < 2; i++) {
            s.model->kernels = i == 0 ? k : &without;
            small_load(&s);
            const enum weight_form stored = i == 0 ? form : FORM_F32;
            check_forms(&s, stored, stored, stored);
            if (i == 0 && form == FORM_F16)
                check_halves(&s);
            struct capsnet_workspace *ws = workspace(&s, n, 1, 0);
            answer(ws, &s, images, &a[i]);
            capsnet_workspace_free(ws);
        }
        for (size_t i = 0; i < n; i++)
            same_image(&s, &a[0], i, &a[1], i, "weights in fp16");
    }
    s.model->kernels = k;
    for (size_t i = 0; i < 2 * sizeof others / sizeof *others; i++, worst->values++) {
        const enum small_tensor t = i % 2 ? T_DIGIT_W : T_PRIMARY_W;
        double *one = &s.tensor[t][random_below(random, s.count[t])];
        const double before = *one;
        *one = others[i / 2];
        small_load(&s);
        check_forms(&s, t == T_PRIMARY_W ? FORM_F32 : form, t == T_DIGIT_W ? FORM_F32 : form, form);
        *one = before;
    }
    capsnet_model_free(s.model);
    check_release();
}

/* ---- 8 bits ------------------------------------------------------------------ */

/* Each of DigitCaps' weights in 8 bits is within half a unit of W. */
static void check_digit_units(const struct small *s, struct worst *worst)
{
    const struct capsnet_shape *h = &s->shape;
    const struct packed *packed = &s->model->packed;
    const size_t words = (h->primary_dims + 3) / 4;
    for (size_t k = 0; k < s->count[T_DIGIT_W]; k++) {
        const size_t d = k % h->primary_dims, je = k / h->primary_dims % s->at->outputs;
        const size_t i = k / h->primary_dims / s->at->outputs, lane = i % KERNEL_LANES;
        const size_t g = i / KERNEL_LANES, j = je / h->pose_dims;
        const uint32_t *row = (const uint32_t *)packed->digit +
                              (g * s->at->outputs + je) * words * KERNEL_LANES + lane;
        const int byte = ((const uint8_t *)(row + d / 4 * KERNEL_LANES))[d % 4];
        const float *units = packed->digit_scales + (g * h->classes + j) * KERNEL_LANES;
        const double unit = (double)units[lane];
        check_value(worst, (byte - 128) * unit, s->tensor[T_DIGIT_W][k], 0.5001 * unit,
                    "weight %zu of capsule %zu in units of %g", k, i, unit);
    }
}

/* The same of the decoder's second layer, and of what a pass of n images made of its input. */
static void check_decoder_units(const struct small *s, const struct capsnet_workspace *ws, size_t n,
                                struct worst *worst)
{
    const struct packed *packed = &s->model->packed;
    const size_t in = s->at->in_row[1], row = s->at->out_row[1];
    const uint32_t *words = packed->decoder[1];
    for (size_t o = 0; o < s->at->out[1]; o++)
        for (size_t k = 0; k < s->at->in[1]; k++) {
            const size_t word = o / KERNEL_PANEL * in / 4 + k / 4;
            const uint32_t *w = words + word * KERNEL_PANEL + o % KERNEL_PANEL;
            const double unit = (double)packed->decoder_scales[1][o];
            check_value(worst, ((const int8_t *)w)[k % 4] * unit,
                        (double)s->model->parameters[s->at->decoder_weight[1] + k * row + o],
                        0.5001 * unit, "weight %zu of output %zu in units of %g", k, o, unit);
        }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < in; k++) {
            const double unit = (double)ws->decoder_scales[i];
            check_value(worst, ws->decoder8[i * in + k] * unit,
                        (double)ws->decoder[1][i * in + k], 0.5001 * unit,
                        "input %zu of image %zu in units of %g", k, i, unit);
        }
}

/* What int8 has in 8 bits beside conv1 and PrimaryCaps; pictures of random poses are 0.003 to
 * 0.004 from f32's in the root mean square. */
static void test_int8(const struct kernels *k, struct random *random, struct worst *worst)
{
    struct capsnet_shape shape = small_shape();
    struct small s, exact;
    struct random same = *random;
    enum { N = 20 };
    if (!k->gemm_int8) {
        print_message("  skipped: level %s has no such instructions\n", k->level);
        return;
    }
    shape.decoder_hidden[0] = 40;
    shape.decoder_hidden[1] = 70;
    small_create_in(&s, &shape, k->level, "int8", random);
    small_create_in(&exact, &shape, k->level, "f32", &same);
    if (s.model->packed.digit_form == FORM_INT8)
        check_digit_units(&s, worst);
    const size_t pixels = s.at->pixels, classes[N] = {0};
    float *poses = check_floats(N * shape.pose_dims), *pictures[2];
    random_fill(random, poses, N * shape.pose_dims, MAGNITUDE_ONE);
    for (size_t i = 0; i < 2; i++) {
        struct capsnet_workspace *ws = workspace(i == 0 ? &s : &exact, N, 1, 0);
        pictures[i] = check_floats(N * pixels);
        capsnet_decode(ws, N, poses, classes, pictures[i]);
        if (i == 0)
            check_decoder_units(&s, ws, N, worst);
        capsnet_workspace_free(ws);
    }
    double squares = 0;
    for (size_t i = 0; i < N * pixels; i++)
        squares += pow((double)pictures[0][i] - (double)pictures[1][i], 2);
    check_value(worst, sqrt(squares / (double)(N * pixels)), 0, 0.01, "pictures");
    capsnet_model_free(s.model);
    capsnet_model_free(exact.model);
    check_release();
}

/* ---- In every precision ---------------------------------------------------- */

static void test_neighbours(const struct kernels *k, struct random *random, struct worst *worst)
{
    in_every_precision(try_neighbours, k, random, worst);
}
static void test_order(const struct kernels *k, struct random *random, struct worst *worst)
{
    in_every_precision(try_order, k, random, worst);
}
static void test_channels(const struct kernels *k, struct random *random, struct worst *worst)
{
    in_every_precision(try_channels, k, random, worst);
}
static void test_sizes(const struct kernels *k, struct random *random, struct worst *worst)
{
    in_every_precision(try_sizes, k, random, worst);
}
static void test_primary(const struct kernels *k, struct random *random, struct worst *worst)
{
    in_every_precision(try_primary, k, random, worst);
}
static void test_threads(const struct kernels *k, struct random *random, struct worst *worst)
{
    in_every_precision(try_threads, k, random, worst);
}
static void test_allocations(const struct kernels *k, struct random *random, struct worst *worst)
{
    in_every_precision(try_allocations, k, random, worst);
}
static void test_hostile(const struct kernels *k, struct random *random, struct worst *worst)
{
    in_every_precision(try_hostile, k, random, worst);
}

int main(void)
{
    static const struct check checks[] = {
        {"neighbours", test_neighbours, NULL},
        {"order", test_order, NULL},
        {"order of channels", test_channels, NULL},
        {"batch sizes", test_sizes, NULL},
        {"PrimaryCaps", test_primary, NULL},
        {"threads", test_threads, NULL},
        {"allocations", test_allocations, NULL},
        {"hostile weights", test_hostile, NULL},
        {"fp16", test_f16, NULL},
        {"8 bits", test_int8, NULL},
    };
    return check_main(checks, sizeof checks / sizeof *checks);
}
