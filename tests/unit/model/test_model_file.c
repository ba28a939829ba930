/*
 * test_model_file.c - a model to its weights file and back, and every way in
 * which a well-formed safetensors file can be no model: each gets its status
 * and a sentence that names the file and the cause.  SEED repeats the weights.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/weights_file/model_file.h"
#include "model/weights_file/tensor_map.h"
#include "tests/common/small_network.h"

static char path[] = "/tmp/capsnet-model-XXXXXX";

/* ---- Files ---------------------------------------------------------------- */

/* The parts of a good file, to be changed one at a time. */
struct parts {
    struct safetensors *file; /* owns names and strings */
    struct safetensors_entry entries[MODEL_TENSORS];
    float *values[MODEL_TENSORS];
    struct safetensors_metadata metadata[32];
    size_t n_entries, n_metadata;
};

static void save(const struct small *s, enum safetensors_dtype dtype,
                 const struct safetensors_metadata *extra, size_t n_extra)
{
    struct capsnet_error error = {""};
    const struct model_block block = {"", s->model->parameters};
    if (model_save(s->model, path, dtype, &block, 1, extra, n_extra, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
}

static void parts_open(struct parts *p)
{
    struct capsnet_error error = {""};
    memset(p, 0, sizeof *p);
    if (safetensors_open(&p->file, path, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    const struct safetensors_tensor *t;
    for (; (t = safetensors_at(p->file, p->n_entries)); p->n_entries++) {
        assert_true(p->n_entries < MODEL_TENSORS);
        struct safetensors_entry *e = &p->entries[p->n_entries];
        p->values[p->n_entries] = check_floats(t->count);
        safetensors_to_f32(t, p->values[p->n_entries]);
        *e = (struct safetensors_entry){t->name, SAFETENSORS_F32, t->rank, {0},
                                        p->values[p->n_entries]};
        memcpy(e->dims, t->dims, sizeof e->dims);
    }
    const struct safetensors_metadata *m;
    for (; (m = safetensors_metadata_at(p->file, p->n_metadata)); p->n_metadata++) {
        assert_true(p->n_metadata < 31);
        p->metadata[p->n_metadata] = *m;
    }
}

/* Writes the parts, loads them, and closes them. */
static enum capsnet_status load_parts(struct parts *p, struct capsnet_error *error)
{
    struct capsnet_model *model = NULL;
    char other[sizeof path + 8];
    snprintf(other, sizeof other, "%s.bad", path);
    if (safetensors_write(other, p->entries, p->n_entries, p->metadata, p->n_metadata, error) !=
        CAPSNET_OK)
        fail_msg("%s", error->text);
    safetensors_close(p->file);
    enum capsnet_status status = capsnet_model_load(&model, other, NULL, error);
    if (status != CAPSNET_OK) {
        assert_null(model); /* written on success only */
        if (strncmp(error->text, other, strlen(other)) != 0)
            fail_msg("\"%s\" does not begin with the file's name", error->text);
    }
    unlink(other);
    capsnet_model_free(model);
    return status;
}

static void expect(struct parts *p, enum capsnet_status status, const char *says)
{
    struct capsnet_error error = {""};
    enum capsnet_status got = load_parts(p, &error);
    if (got != status || !strstr(error.text, says))
        fail_msg("status %d and \"%s\", expected %d and \"%s\"", got, error.text, status, says);
    check_release();
}

static void set_metadata(struct parts *p, const char *key, const char *value)
{
    size_t i = 0;
    while (i < p->n_metadata && strcmp(p->metadata[i].key, key) != 0)
        i++;
    if (i == p->n_metadata)
        p->n_metadata++;
    p->metadata[i] = (struct safetensors_metadata){key, value};
    if (!value)
        p->metadata[i] = p->metadata[--p->n_metadata];
}

static size_t find_entry(const struct parts *p, const char *name)
{
    size_t i = 0;
    while (i < p->n_entries && strcmp(p->entries[i].name, name) != 0)
        i++;
    assert_true(i < p->n_entries);
    return i;
}

static const struct capsnet_known known = {0.03125f, 0.125f, 0.75f, 0.875f};

/* A small model's file at path. */
static void good_file(struct random *random)
{
    struct small s;
    struct capsnet_shape shape = small_shape();
    small_create(&s, &shape, NULL, random);
    s.model->known = known;
    save(&s, SAFETENSORS_F32, NULL, 0);
    capsnet_model_free(s.model);
}

/* ---- Round trips ---------------------------------------------------------- */

static void check_tensors(const struct small *s, const struct parts *p,
                          enum safetensors_dtype dtype)
{
    for (size_t t = 0; t < SMALL_TENSORS; t++) {
        const size_t i = find_entry(p, small_names[t]);
        assert_int_equal(safetensors_at(p->file, i)->count, s->count[t]);
        assert_int_equal(safetensors_at(p->file, i)->dtype, dtype);
        for (size_t k = 0; k < s->count[t]; k++) {
            float want = (float)s->tensor[t][k];
            if (dtype == SAFETENSORS_F16)
                want = safetensors_f32_from_f16(safetensors_f16_from_f32(want));
            check_bits(&p->values[i][k], &want, 1, small_names[t]);
        }
    }
}

static void round_trip(const struct capsnet_shape *shape, enum safetensors_dtype dtype,
                       const struct capsnet_frame *frame, struct random *random)
{
    struct small s;
    struct parts p;
    struct capsnet_model *back = NULL;
    struct capsnet_error error = {""};
    const struct safetensors_metadata extra[] = {{"made.by", "a \"test\"\n\\ \xc3\xa9"},
                                                 {"classes", "99"}}; /* own keys win */
    small_create(&s, shape, NULL, random);
    s.model->known = known;
    s.model->frame = *frame;
    free(s.model->labels[1]);
    s.model->labels[1] = strdup("\"q\", \xe2\x82\xac");
    save(&s, dtype, extra, 2);
    parts_open(&p);
    check_tensors(&s, &p, dtype);
    safetensors_close(p.file);

    if (model_load_whole(&back, path, NULL, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    assert_memory_equal(capsnet_model_shape(back), shape, sizeof *shape);
    size_t parameters = 0;
    for (size_t t = 0; t < SMALL_TENSORS; t++)
        parameters += s.count[t];
    assert_int_equal(capsnet_model_parameters(back), parameters);
    for (size_t i = 0; i < s.at->total; i++) { /* padding included */
        float want = s.model->parameters[i];
        if (dtype == SAFETENSORS_F16)
            want = safetensors_f32_from_f16(safetensors_f16_from_f32(want));
        check_bits(&back->parameters[i], &want, 1, "the loaded parameters");
    }
    assert_string_equal(capsnet_model_name(back), "capsnet");
    assert_string_equal(capsnet_model_label(back, 0), "0");
    assert_string_equal(capsnet_model_label(back, 1), "\"q\", \xe2\x82\xac");
    assert_string_equal(capsnet_model_stored_dtype(back), safetensors_dtype_name(dtype));
    assert_string_equal(capsnet_model_precision(back), "f32");
    assert_memory_equal(capsnet_model_known(back), &known, sizeof known);
    assert_memory_equal(capsnet_model_frame(back), frame, sizeof *frame);
    const char *key, *value, *made = NULL;
    size_t n = 0, classes = 0;
    for (; capsnet_model_metadata(back, n, &key, &value); n++) {
        if (strcmp(key, "made.by") == 0)
            made = value;
        classes += strcmp(key, "classes") == 0;
    }
    assert_non_null(made);
    assert_string_equal(made, extra[0].value);
    assert_int_equal(classes, 1);
    assert_int_equal(capsnet_model_metadata(back, n, &key, &value), 0);
    capsnet_model_free(back);
    capsnet_model_free(s.model);
}

static void test_round_trip(struct random *random)
{
    struct capsnet_shape shape = small_shape();
    round_trip(&shape, SAFETENSORS_F32, &(struct capsnet_frame){18, 18, 1}, random);
    round_trip(&shape, SAFETENSORS_F16, &(struct capsnet_frame){10, 1, 3}, random);
    shape.height = 22;
    shape.width = 25;
    shape.channels = 3;
    shape.conv1_kernel = 4;
    shape.conv1_channels = 7;
    shape.primary_types = 13;
    shape.primary_dims = 5;
    shape.routing_iterations = 10;
    round_trip(&shape, SAFETENSORS_F32, &(struct capsnet_frame){22, 25, 2}, random);
}

static void test_no_threshold(struct random *random)
{
    struct parts p;
    good_file(random);
    parts_open(&p);
    set_metadata(&p, "error_threshold", NULL);
    set_metadata(&p, "labels", NULL);
    set_metadata(&p, "name", NULL);
    struct capsnet_error error = {""};
    struct capsnet_model *model = NULL;
    if (safetensors_write(path, p.entries, p.n_entries, p.metadata, p.n_metadata, &error) !=
            CAPSNET_OK ||
        capsnet_model_load(&model, path, NULL, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    assert_true(isnan(capsnet_model_known(model)->error_threshold));
    assert_string_equal(capsnet_model_label(model, 2), "2");
    assert_string_equal(capsnet_model_name(model), "capsnet");
    capsnet_model_free(model);
    safetensors_close(p.file);
}

/* ---- Bad metadata --------------------------------------------------------- */

static void test_sizes(struct random *random)
{
    static const char *const keys[] = {
        "height", "width", "channels", "classes", "conv1_kernel", "conv1_channels",
        "primary_kernel", "primary_stride", "primary_types", "primary_dims", "pose_dims",
        "routing_iterations"};
    static const struct {
        const char *value;
        enum capsnet_status status;
    } bad[] = {
        {NULL, CAPSNET_ERR_FORMAT}, {"", CAPSNET_ERR_FORMAT}, {"many", CAPSNET_ERR_FORMAT},
        {"-3", CAPSNET_ERR_FORMAT}, {"+3", CAPSNET_ERR_FORMAT}, {" 3", CAPSNET_ERR_FORMAT},
        {"3.0", CAPSNET_ERR_FORMAT}, {"0x3", CAPSNET_ERR_FORMAT},
        {"4294967299", CAPSNET_ERR_FORMAT}, {"18446744073709551619", CAPSNET_ERR_FORMAT},
        {"0", CAPSNET_ERR_SHAPE}, {"999999999", CAPSNET_ERR_SHAPE},
    };
    good_file(random);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
            struct parts p;
            parts_open(&p);
            set_metadata(&p, keys[k], bad[b].value);
            expect(&p, bad[b].status, keys[k]);
        }
}

static void test_hidden(struct random *random)
{
    static const char *const bad[] = {NULL, "", "5", "5,", ",6", "5,6,7", "5 6", "5;6", "a,b",
                                      "5,-6", "5,9999999999"};
    struct parts p;
    good_file(random);
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        parts_open(&p);
        set_metadata(&p, "decoder_hidden", bad[b]);
        expect(&p, CAPSNET_ERR_FORMAT, "decoder_hidden");
    }
    parts_open(&p);
    set_metadata(&p, "decoder_hidden", "5,0");
    expect(&p, CAPSNET_ERR_SHAPE, "decoder_hidden[1] is 0");
    parts_open(&p);
    set_metadata(&p, "decoder_hidden", "99999,6");
    expect(&p, CAPSNET_ERR_SHAPE, "decoder_hidden[0] is 99999");
}

static void test_frame(struct random *random)
{
    static const char *const bad[] = {"", "18", "18,18", "18,18,", ",18,1", "18,18,1,1", "18 18 1",
                                      "0,18,1", "18,0,1", "18,18,0", "19,18,1", "18,19,1",
                                      "18,18,4", "-1,18,1", "a,b,c", "18,18,9999999999"};
    struct parts p;
    good_file(random);
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        parts_open(&p);
        set_metadata(&p, "frame", bad[b]);
        expect(&p, CAPSNET_ERR_FORMAT, "\"frame\" is not a height, a width and a number of objects");
    }
}

static void test_texts(struct random *random)
{
    static const struct {
        const char *key, *value, *says;
    } bad[] = {
        {"format", NULL, "not a capsule network"},
        {"format", "pt", "not a capsule network"},
        {"labels", "", "JSON array"},
        {"labels", "a,b,c", "JSON array"},
        {"labels", "[\"a\",\"b\"", "JSON array"},
        {"labels", "{\"a\":1,\"b\":2,\"c\":3}", "JSON array"},
        {"labels", "[\"a\",\"b\"]", "one string a class"},
        {"labels", "[\"a\",\"b\",\"c\",\"d\"]", "one string a class"},
        {"labels", "[\"a\",2,\"c\"]", "no string"},
        {"labels", "[\"a\",null,\"c\"]", "no string"},
        {"error_threshold", "", "error_threshold"},
        {"error_threshold", "low", "error_threshold"},
        {"error_threshold", "-0.1", "error_threshold"},
        {"error_threshold", "nan", "error_threshold"},
        {"error_threshold", "inf", "error_threshold"},
        {"error_threshold", "0.1 or so", "error_threshold"},
        {"typical_ink", "0", "typical_ink"},
        {"ink_power", "-1", "ink_power"},
        {"ink_power", "inf", "ink_power"},
        {"length_threshold", "1.1", "length_threshold"},
        {"length_threshold", "nan", "length_threshold"},
    };
    good_file(random);
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        struct parts p;
        parts_open(&p);
        set_metadata(&p, bad[b].key, bad[b].value);
        expect(&p, CAPSNET_ERR_FORMAT, bad[b].says);
    }
}

/* Shapes that are sane field by field but not together. */
static void test_shapes(struct random *random)
{
    struct parts p;
    good_file(random);
    parts_open(&p);
    set_metadata(&p, "width", "16");
    expect(&p, CAPSNET_ERR_SHAPE, "images of 18 x 16 pixels are too small for kernels of 9 and 9");
    parts_open(&p);
    set_metadata(&p, "height", "512");
    set_metadata(&p, "width", "512");
    set_metadata(&p, "primary_types", "256");
    expect(&p, CAPSNET_ERR_SHAPE, "268 million parameters");
    parts_open(&p); /* every other size fits no tensor */
    set_metadata(&p, "classes", "4");
    set_metadata(&p, "labels", NULL);
    expect(&p, CAPSNET_ERR_SHAPE, "tensor \"digit.weight\"");
    parts_open(&p);
    set_metadata(&p, "channels", "2");
    expect(&p, CAPSNET_ERR_SHAPE, "tensor \"conv1.weight\"");
    parts_open(&p);
    set_metadata(&p, "decoder_hidden", "6,5");
    expect(&p, CAPSNET_ERR_SHAPE, "tensor \"decoder.0.weight\"");
}

/* ---- Bad tensors ---------------------------------------------------------- */

static void test_tensors(struct random *random)
{
    static const float values[] = {NAN, INFINITY, -INFINITY, 65505.0f, -1e30f};
    good_file(random);
    for (size_t t = 0; t < SMALL_TENSORS; t++) {
        struct parts p;
        char says[64];
        snprintf(says, sizeof says, "tensor \"%s\"", small_names[t]);
        parts_open(&p);
        size_t last = find_entry(&p, small_names[t]);
        p.entries[last] = p.entries[--p.n_entries];
        expect(&p, CAPSNET_ERR_FORMAT, strcat(says, " is missing"));
        snprintf(says, sizeof says, "tensor \"%s\" is ", small_names[t]);

        parts_open(&p); /* one more dimension */
        struct safetensors_entry *e = &p.entries[find_entry(&p, small_names[t])];
        e->dims[e->rank++] = 1;
        expect(&p, CAPSNET_ERR_SHAPE, says);

        parts_open(&p); /* one value short */
        e = &p.entries[find_entry(&p, small_names[t])];
        e->dims[0]--;
        expect(&p, CAPSNET_ERR_SHAPE, says);

        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            parts_open(&p);
            size_t i = find_entry(&p, small_names[t]);
            const size_t count = safetensors_at(p.file, i)->count;
            p.values[i][v % 2 ? count - 1 : random_below(random, count)] = values[v];
            snprintf(says, sizeof says, "tensor \"%s\" holds a value that is %s", small_names[t],
                     isfinite(values[v]) ? "beyond" : "not finite");
            expect(&p, CAPSNET_ERR_FORMAT, says);
        }
    }
    struct parts p; /* the largest weight that is allowed */
    parts_open(&p);
    p.values[0][0] = 65504;
    p.values[0][1] = -65504;
    expect(&p, CAPSNET_OK, "");
}

/* The transposed tensor has as many values, and is refused all the same. */
static void test_transposed(struct random *random)
{
    struct parts p;
    good_file(random);
    parts_open(&p);
    struct safetensors_entry *e = &p.entries[find_entry(&p, "decoder.0.weight")];
    const size_t rows = e->dims[0];
    e->dims[0] = e->dims[1];
    e->dims[1] = rows;
    expect(&p, CAPSNET_ERR_SHAPE, "tensor \"decoder.0.weight\"");
}

/* ---- Levels and folders --------------------------------------------------- */

static void test_arguments(struct random *random)
{
    struct capsnet_model *model = NULL;
    struct capsnet_error error = {""};
    good_file(random);
    assert_int_equal(capsnet_model_load(&model, path, &(struct capsnet_options){.cpu_level = "sse9"}, &error), CAPSNET_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "sse9"));
    assert_null(strstr(error.text, path)); /* the file is not to blame */
    assert_int_equal(capsnet_model_load(&model, path, &(struct capsnet_options){.cpu_level = ""}, &error), CAPSNET_ERR_ARGUMENT);
    assert_int_equal(capsnet_model_load(&model, "/nonexistent/x", NULL, &error), CAPSNET_ERR_IO);
    assert_non_null(strstr(error.text, "/nonexistent/x"));
    assert_null(model);
    assert_int_equal(capsnet_model_load(&model, path, &(struct capsnet_options){.cpu_level = "ref"}, &error), CAPSNET_OK);
    assert_string_equal(capsnet_model_cpu_level(model), "ref");
    assert_string_equal(capsnet_model_precision(model), "f32");
    capsnet_model_free(model);
    model = NULL;
    assert_int_equal(capsnet_model_load(&model, path, &(struct capsnet_options){"ref", "bf16", NULL, NULL},
                                        &error), CAPSNET_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "AVX-512 BF16"));
    assert_int_equal(capsnet_model_load(&model, path, &(struct capsnet_options){"ref", "int8", NULL, NULL},
                                        &error), CAPSNET_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "AVX-512 VNNI"));
    assert_int_equal(capsnet_model_load(&model, path, &(struct capsnet_options){"ref", "f16", NULL, NULL},
                                        &error), CAPSNET_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "f32, bf16, int8 or auto"));
    assert_int_equal(capsnet_model_load(&model, path, &(struct capsnet_options){"ref", NULL, "much", NULL},
                                        &error), CAPSNET_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "auto, full or low"));
    assert_int_equal(capsnet_model_load(&model, path, &(struct capsnet_options){.plan = "fast"}, &error),
                     CAPSNET_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "auto, direct or spectral"));
    assert_int_equal(capsnet_model_load(&model, path, &(struct capsnet_options){.memory = "low", .plan = "spectral"},
                                        &error), CAPSNET_ERR_ARGUMENT);
    assert_non_null(strstr(error.text, "memory full, or plan direct"));
    assert_null(model);
    struct capsnet_sizes sizes;
    assert_int_equal(capsnet_model_sizes(&sizes, "/nonexistent/x", NULL, &error), CAPSNET_ERR_IO);
    assert_int_equal(capsnet_model_sizes(&sizes, path, &(struct capsnet_options){.cpu_level = "sse9"},
                                         &error), CAPSNET_ERR_ARGUMENT);
    assert_int_equal(capsnet_model_sizes(&sizes, path, &(struct capsnet_options){.cpu_level = "ref"},
                                         &error), CAPSNET_OK);
    assert_true(capsnet_may_be_full(&sizes, 0));
    assert_false(capsnet_may_be_full(&sizes, SIZE_MAX / 2)); /* others have it all */
    static const char *const memories[] = {"low", "full"};
    size_t bytes[2];
    for (size_t i = 0; i < 2; i++) {
        const struct capsnet_options options = {"ref", "f32", memories[i], NULL};
        assert_int_equal(capsnet_model_load(&model, path, &options, &error), CAPSNET_OK);
        assert_string_equal(capsnet_model_memory(model), memories[i]);
        assert_string_equal(capsnet_model_plan(model, 1), "direct");
        assert_string_equal(capsnet_model_plan(model, 64), "direct"); /* until it is measured */
        bytes[i] = capsnet_model_bytes(model);
        if (i == 0)
            capsnet_model_free(model);
    }
    assert_true(bytes[1] > 3 * bytes[0]);
    assert_true(sizes.low > 2 * bytes[0]);
    assert_int_equal(sizes.transform, 2 * (bytes[1] - bytes[0]));

    struct capsnet_workspace *ws = NULL;
    static const size_t bad[][2] = {{0, 1}, {4097, 1}, {1, 0}, {1, 1025}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        error.text[0] = 0;
        assert_int_equal(capsnet_workspace_create(&ws, model, bad[i][0], bad[i][1], &error),
                         CAPSNET_ERR_ARGUMENT);
        assert_true(strlen(error.text) > 0 && ws == NULL);
    }
    assert_int_equal(capsnet_workspace_create(&ws, model, 3, 2, &error), CAPSNET_OK);
    assert_true(capsnet_workspace_bytes(ws) > 0);
    capsnet_workspace_free(ws);
    capsnet_workspace_free(NULL);
    capsnet_model_free(model);
    capsnet_model_free(NULL);
}

static void test_unwritable(struct random *random)
{
    struct small s;
    struct capsnet_error error = {""};
    struct capsnet_shape shape = small_shape();
    small_create(&s, &shape, NULL, random);
    const struct model_block block = {"", s.model->parameters};
    assert_int_equal(model_save(s.model, "/nonexistent/model", SAFETENSORS_F32, &block, 1, NULL, 0,
                                &error),
                     CAPSNET_ERR_IO);
    assert_non_null(strstr(error.text, "/nonexistent/model"));
    /* Values that could not be read back leave the old file alone. */
    static const float values[] = {NAN, -INFINITY, 65505.0f};
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        struct parts p;
        save(&s, SAFETENSORS_F32, NULL, 0);
        const float good = s.model->parameters[s.at->digit_weight];
        s.model->parameters[s.at->digit_weight] = values[v];
        assert_int_equal(model_save(s.model, path, SAFETENSORS_F32, &block, 1, NULL, 0, &error),
                         CAPSNET_ERR_FORMAT);
        assert_non_null(strstr(error.text, path));
        assert_non_null(strstr(error.text, "tensor \"digit.weight\""));
        s.model->parameters[s.at->digit_weight] = good;
        parts_open(&p);
        check_tensors(&s, &p, SAFETENSORS_F32);
        safetensors_close(p.file);
    }
    capsnet_model_free(s.model);
}

static const struct {
    const char *name;
    void (*test)(struct random *random);
} cases[] = {
    {"round trips", test_round_trip},   {"no threshold", test_no_threshold},
    {"sizes", test_sizes},              {"decoder_hidden", test_hidden},
        {"frame", test_frame},
    {"texts", test_texts},              {"shapes", test_shapes},
    {"tensors", test_tensors},          {"transposed", test_transposed},
    {"arguments", test_arguments},      {"unwritable", test_unwritable},
};
enum { CASES = sizeof cases / sizeof *cases };

static uint64_t seed = 1;

static void run_case(void **state)
{
    struct random random = {seed};
    const size_t *i = *state;
    cases[*i].test(&random);
    check_release();
}

int main(void)
{
    static size_t index[CASES];
    static struct CMUnitTest tests[CASES];
    const char *wanted = getenv("SEED");
    int file = mkstemp(path);
    if (file < 0)
        return 1;
    close(file);
    seed = wanted ? (uint64_t)strtoull(wanted, NULL, 0) : (uint64_t)getpid();
    printf("SEED=%llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < CASES; i++) {
        index[i] = i;
        tests[i] = (struct CMUnitTest){cases[i].name, run_case, NULL, NULL, &index[i]};
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
