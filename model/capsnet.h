/*
 * capsnet.h - a capsule network that runs: load a weights file, classify
 * images, read poses, decode poses back into pictures.
 *
 * The network is "Dynamic Routing Between Capsules" (Sabour, Frosst, Hinton,
 * NIPS 2017).  model/README.md defines the letters and gives each layer's
 * equation.  This is the only header of model/ that the server includes.
 *
 * Threads: a model is immutable once loaded and may be shared by any number
 * of threads.  A workspace belongs to one caller at a time; it spreads its
 * work over its own threads.  Nothing here prints, exits, or keeps global
 * state.
 */
#ifndef CAPSNET_H
#define CAPSNET_H

#include <stddef.h>

#define CAPSNET_MUST_CHECK __attribute__((warn_unused_result))

/* What can fail returns one of these; 0 is success.  Out-parameters are
 * written only on success. */
enum capsnet_status {
    CAPSNET_OK = 0,
    CAPSNET_ERR_IO,       /* a file cannot be opened, read or written */
    CAPSNET_ERR_FORMAT,   /* a file is not what it should be */
    CAPSNET_ERR_SHAPE,    /* a shape is outside the sane limits, or does not fit */
    CAPSNET_ERR_MEMORY,   /* an allocation failed */
    CAPSNET_ERR_ARGUMENT, /* an unknown CPU level, a thread count of 0, ... */
};

/* One sentence about what went wrong, for a person.  Filled on failure only. */
struct capsnet_error {
    char text[512];
};

/* Every size of the network.  The comments give the MNIST default. */
struct capsnet_shape {
    size_t height, width, channels; /* of an image: 28, 28, 1 */
    size_t classes;                 /* 10 */
    size_t conv1_kernel;            /* 9, stride 1 */
    size_t conv1_channels;          /* 256 */
    size_t primary_kernel;          /* 9 */
    size_t primary_stride;          /* 2 */
    size_t primary_types;           /* 32 capsule types */
    size_t primary_dims;            /* 8-D each */
    size_t pose_dims;               /* 16 */
    size_t routing_iterations;      /* 3 */
    size_t decoder_hidden[2];       /* 512, 1024 */
};

/* Values of an image. */
static inline size_t capsnet_pixels(const struct capsnet_shape *shape)
{
    return shape->height * shape->width * shape->channels;
}

/* Places of the primary capsules along a side of the image: 6 of 28 pixels.  Place p
 * sees capsnet_field() pixels of that side, the first of them at p * primary_stride. */
static inline size_t capsnet_places(const struct capsnet_shape *shape, size_t side)
{
    return (side - shape->conv1_kernel + 1 - shape->primary_kernel) / shape->primary_stride + 1;
}
static inline size_t capsnet_field(const struct capsnet_shape *shape)
{
    return shape->conv1_kernel + shape->primary_kernel - 1; /* 17 */
}

/* Primary capsules: a grid of places for each type, 32 * 6 * 6 = 1152. */
static inline size_t capsnet_capsules(const struct capsnet_shape *shape)
{
    return shape->primary_types * capsnet_places(shape, shape->height) *
           capsnet_places(shape, shape->width);
}

/* When an image is one of the model's kind, as measured on images that are
 * (model/train/measure/calibrate.h).  Of an image, error is the mean squared pixel
 * error of the winning capsule's reconstruction, length that capsule's, ink the
 * mean square of the image's pixels:
 *
 *     error <= error_threshold * (ink / typical_ink) ^ ink_power
 *     length >= length_threshold
 *     error < ink  (an empty picture would not be nearer)
 *
 * A file that states an error_threshold alone has a typical_ink of 1, an
 * ink_power of 0 and a length_threshold of 0; one without leaves NAN, and
 * nothing can be told. */
struct capsnet_known {
    float error_threshold, typical_ink, ink_power, length_threshold;
};

/* What an image's object and its margin fill: the whole image, or, where the network was
 * trained on objects lying anywhere on a larger canvas, the size of what lies there. */
struct capsnet_frame {
    size_t height, width; /* MNIST: 28, 28, of an image of 28 x 28 or of a canvas */
    size_t objects;       /* how many may lie there on top of each other: 1; of pairs 2 */
};

struct capsnet_model;
struct capsnet_workspace;

/* ---- CPU and memory ---------------------------------------------------- */

/* Number of CPUs this process may really use, at least 1: the affinity mask,
 * cut down to the cgroup's CPU quota (v2 cpu.max or v1 cpu.cfs_quota_us,
 * rounded up), never the host's processor count. */
size_t capsnet_cpu_count(void);

/* Bytes of memory this process may use: the cgroup's limit (v2 memory.max or
 * v1 memory.limit_in_bytes), or the machine's memory if that is less.  0 when
 * neither can be read. */
size_t capsnet_memory_limit(void);

/* ---- Model ------------------------------------------------------------ */

/* How a model is to run.  NULL stands for the first word given. */
struct capsnet_options {
    /* The best this CPU has, or "ref", "openblas", "avx2", "avx512",
     * "avx512vnni", "avx512bf16": what the kernels may use.  "openblas" is what
     * a CPU gets that has none of the levels behind it. */
    const char *cpu_level;

    /* "f32", "bf16", "int8" or "auto": what the products of conv1, PrimaryCaps,
     * DigitCaps' prediction vectors and the decoder are rounded to; with int8 the
     * decoder's first and third are in bf16, and at level avx512vnni they and
     * DigitCaps' are in fp32.  All sums are fp32's, or exact.  bf16 needs level
     * avx512bf16, int8 avx512vnni or avx512bf16; auto is the one of those that are
     * here whose products take the least time. */
    const char *precision;

    /* "auto", "full" or "low".  Full keeps PrimaryCaps' weights in the
     * transform domain as well (f32 95 MB, bf16 57, int8 34), which large batches
     * are computed with; low does without; auto is full where twice
     * that and 96 MiB fit into capsnet_memory_limit(): the model, a low
     * one beside it during a reload, and room for their batches. */
    const char *memory;

    /* "auto", "direct" or "spectral": how batches are computed.  Direct needs no
     * weights in the transform domain: memory auto is low.  Spectral needs them,
     * at any batch size: memory auto is full, low an error.  Auto takes whichever
     * is faster for a batch, see capsnet_model_measure(). */
    const char *plan;
};

/* Loads a safetensors weights file.
 *
 * path       the file; it is mapped, checked field by field, unpacked, and
 *            no longer needed after the call.
 * options    NULL for the defaults (the environment is the programs' matter).
 * *model     the loaded model; free with capsnet_model_free().
 * error      receives one sentence on failure.  Never NULL.
 *
 * Returns CAPSNET_OK, or any of the failures above; CAPSNET_ERR_ARGUMENT for
 * what the options name and this CPU does not have. */
CAPSNET_MUST_CHECK enum capsnet_status
capsnet_model_load(struct capsnet_model **model, const char *path,
                   const struct capsnet_options *options, struct capsnet_error *error);

/* The room that a model is to have, in bytes; about. */
struct capsnet_sizes {
    size_t low;       /* for its weights without those in the transform domain, twice (a
                         reload), and for its batches */
    size_t transform; /* "full" asks for that beside it */
};

/* Reads a weights file's shape, and tells what room its model is to have; fails as
 * capsnet_model_load() does, but does not look at the weights. */
CAPSNET_MUST_CHECK enum capsnet_status
capsnet_model_sizes(struct capsnet_sizes *sizes, const char *path,
                    const struct capsnet_options *options, struct capsnet_error *error);

/* The rule of "auto": may the model be "full", when other models are to have others_bytes
 * of capsnet_memory_limit()? */
int capsnet_may_be_full(const struct capsnet_sizes *sizes, size_t others_bytes);

/* Frees a model; NULL is ignored.  No workspace of it may be in use. */
void capsnet_model_free(struct capsnet_model *model);

const struct capsnet_shape *capsnet_model_shape(const struct capsnet_model *model);

/* The whole image and one object, unless the file states something else. */
const struct capsnet_frame *capsnet_model_frame(const struct capsnet_model *model);

/* Number of trained parameters: 8,215,568 for the default shape. */
size_t capsnet_model_parameters(const struct capsnet_model *model);

/* The name the file gives its model, e.g. "capsnet-mnist". */
const char *capsnet_model_name(const struct capsnet_model *model);

/* The label of a class (0 .. classes - 1), e.g. "7". */
const char *capsnet_model_label(const struct capsnet_model *model, size_t class_index);

/* What the tensors are stored as in the file: "F32", "F16" or "BF16". */
const char *capsnet_model_stored_dtype(const struct capsnet_model *model);

/* What the arithmetic is done in: "f32", "bf16", "int8". */
const char *capsnet_model_precision(const struct capsnet_model *model);

/* How long its products in the transform domain take, in units of what f32's take on
 * this CPU: above 1 the precision is the slower one.  1 for f32. */
double capsnet_model_cost(const struct capsnet_model *model);

/* The CPU level whose kernels the model uses: "ref", "openblas", "avx2", ... */
const char *capsnet_model_cpu_level(const struct capsnet_model *model);

/* Which OpenBLAS level "openblas" has its products from, and for which CPU it
 * took this one: "OpenBLAS 0.3.21 Haswell".  On one newer than itself, it runs
 * its oldest kernels; the text then says so, and such a CPU gets "ref" unless
 * told otherwise.  Any thread; writes at most size bytes, the 0 included. */
void capsnet_openblas(char *text, size_t size);

/* "full" or "low": with or without weights in the transform domain. */
const char *capsnet_model_memory(const struct capsnet_model *model);

/* Bytes of memory that the weights take. */
size_t capsnet_model_bytes(const struct capsnet_model *model);

/* How a batch of n images is computed: "direct" (PrimaryCaps as a plain
 * convolution) or "spectral" (in a transform domain, by a tenth of the multiplications). */
const char *capsnet_model_plan(const struct capsnet_model *model, size_t n);

/* Finds out from how many images on the spectral plan is the faster one on this
 * machine, with that many threads, in at most about `seconds` and a batch of 64 images
 * at most; for plan "auto", before the model is shared.  What it cannot find out in
 * that time, or for want of memory, stays as it was: none is, but at level "openblas" from 13
 * images on. */
void capsnet_model_measure(struct capsnet_model *model, size_t threads, double seconds);

/* Gives back the weights in the transform domain where batches of up to max_batch images are
 * all computed without them: memory is low from then on.  Before the model is shared, and
 * before it has a workspace. */
void capsnet_model_trim(struct capsnet_model *model, size_t max_batch);

/* Takes over what was found out for a model of the same shape, level and precision,
 * and returns 1; else 0. */
int capsnet_model_measured_as(struct capsnet_model *model, const struct capsnet_model *other);

/* What the file says of the images that the model knows. */
const struct capsnet_known *capsnet_model_known(const struct capsnet_model *model);

/* The file's metadata, for a person to read: entry i of n.  Returns 0 when i
 * is past the end.  The strings live as long as the model. */
int capsnet_model_metadata(const struct capsnet_model *model, size_t i, const char **key,
                           const char **value);

/* ---- Workspace -------------------------------------------------------- */

/* Makes the memory and the threads for forward passes of up to max_batch
 * images.  All allocation happens here; forward and decode allocate nothing.
 * The model must outlive the workspace.
 *
 * Returns CAPSNET_OK, CAPSNET_ERR_ARGUMENT (max_batch or threads is 0 or
 * absurd) or CAPSNET_ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status
capsnet_workspace_create(struct capsnet_workspace **workspace, const struct capsnet_model *model,
                         size_t max_batch, size_t threads, struct capsnet_error *error);

/* Stops the threads and frees the memory; NULL is ignored. */
void capsnet_workspace_free(struct capsnet_workspace *workspace);

/* Bytes of memory the workspace holds. */
size_t capsnet_workspace_bytes(const struct capsnet_workspace *workspace);

/* ---- Several workspaces on the same CPUs --------------------------------- */

/* Workspaces that share turns compute one at a time, each with all its threads, so that
 * no more threads compute than the largest has.  Who waits is let in between two pieces
 * of a long batch, in the order of coming (model/machine/turns.h). */
struct capsnet_turns;

/* NULL when memory is short. */
struct capsnet_turns *capsnet_turns_create(void);

/* Frees; NULL is ignored.  No workspace that shares them may be in use. */
void capsnet_turns_free(struct capsnet_turns *turns);

/* Has the workspace share these turns: from then on it may compute only between
 * capsnet_turn_take(), which waits, and capsnet_turn_give(), both by its one caller.
 * is_beside: it has a part of the CPUs' threads, and may compute while others of which that is
 * said compute; their turn is one. */
void capsnet_workspace_share(struct capsnet_workspace *workspace, struct capsnet_turns *turns,
                             int is_beside);
void capsnet_turn_take(struct capsnet_workspace *workspace);
void capsnet_turn_give(struct capsnet_workspace *workspace);

/* ---- Running it ------------------------------------------------------- */

/* The network from pixels to class capsules (sections 3 and 4 of the paper).
 *
 * images   [n][height][width][channels], each pixel 0 (background) to 1 (ink)
 * n        1 .. max_batch
 * lengths  [n][classes]             |v_j|, each in [0,1): the class probability
 * poses    [n][classes][pose_dims]  v_j
 *
 * An image's answer depends on that image alone, not on its neighbours in the
 * batch; whether the batch is small (direct convolution) or large (spectral)
 * changes it by rounding only: in f32, with PrimaryCaps' kernels of 9x9, by what routing
 * makes of 5e-5 of the root mean square of PrimaryCaps' values: with the network of
 * weights/capsnet-mnist.safetensors 1e-5 of a length at most, of MNIST's test images
 * (`make answers`), with random weights more (test_promises prints it).  From where on
 * a batch is large is the machine's (capsnet_model_measure). */
void capsnet_forward(struct capsnet_workspace *workspace, size_t n, const float *images,
                     float *lengths, float *poses);

/* How the capsules of one image came to agree: what each round of routing (1 to
 * routing_iterations; procedure 1 of the paper) made of its prediction vectors.  What is
 * NULL is not wanted.  h and w are the places along the image's height and width.
 *
 * lengths    [rounds][classes]        |v_j| after the round; after the last one those
 *                                     that the forward pass gives, bit for bit
 * coupling   [rounds][classes][h][w]  mean over the capsule types of c_ij at a place;
 *                                     1 / classes in the first round
 * votes      [rounds][classes][h][w]  sum over the types of c_ij (u_hat_ij . s_j / |s_j|):
 *                                     what a place adds to |s_j|, which its map sums to;
 *                                     |v_j| = |s_j|^2 / (1 + |s_j|^2).  0 where s_j is 0
 * couplings  [capsules][classes]      the last round's c_ij.  Capsule i is of type
 *                                     i / (h w), at place i % (h w), row by row: the order
 *                                     of the file's digit.weight */
struct capsnet_routing {
    float *lengths, *coupling, *votes, *couplings;
};

/* capsnet_forward(), the same bits, which also tells of routing: routing [n] points to
 * what is to be filled for each image, or is NULL for one that is not asked about.  It is
 * worked out from the pass's own prediction vectors while they are there, which takes
 * half a millisecond for each image that is asked about, and no time for the others. */
void capsnet_forward_routing(struct capsnet_workspace *workspace, size_t n, const float *images,
                             float *lengths, float *poses,
                             const struct capsnet_routing *const *routing);

/* The decoder: the picture of one class capsule's pose (section 4.1).
 *
 * poses    [n][pose_dims]
 * classes  [n], each below the model's class count
 * images   [n][height][width][channels], each pixel in (0,1) */
void capsnet_decode(struct capsnet_workspace *workspace, size_t n, const float *poses,
                    const size_t *classes, float *images);

/* The longest capsule of lengths [classes]; the lowest index wins a tie. */
size_t capsnet_winner(const struct capsnet_shape *shape, const float *lengths);

/* Mean squared difference of two images [height][width][channels]. */
float capsnet_pixel_error(const struct capsnet_shape *shape, const float *a, const float *b);

/* Mean square of an image's pixels [height][width][channels]. */
float capsnet_ink(const struct capsnet_shape *shape, const float *image);

/* Whether an image of that error, length and ink is one of the model's kind;
 * without a threshold none is. */
int capsnet_is_known(const struct capsnet_known *known, float error, float length, float ink);

#endif
