/*
 * test_train_data.c - capsnet-train on data other than MNIST: clothes in IDX
 * files, classes in folders of PNGs, gray and colour; what it draws; and what
 * is wrong with a data set being said before the training.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/picture/png.h"
#include "tests/common/temp_folder.h"

static char output[65536];

/* A network and a run small enough for a moment. */
#define SMALL                                                                                    \
    "--epochs 2 --batch 16 --warmup 4 --rate 0.005 --conv1 8 --types 2 --dims 4 --pose 4 "       \
    "--hidden1 16 --hidden2 16 --ema 0.9 --threads 1 "

static int says(const char *text)
{
    return strstr(output, text) != NULL;
}

static void expect(int status, int expected, const char *text)
{
    if (status != expected || !says(text))
        fail_msg("status %d, not %d; it should say \"%s\" but said: %s", status, expected, text,
                 output);
}

/* The size of a picture in the folder. */
static void check_picture(const char *name, size_t width, size_t height)
{
    struct image image;
    struct image_message message;
    size_t nbytes;
    uint8_t *bytes = get_file(name, &nbytes);
    if (png_decode(&image, bytes, nbytes, 100000, 3, &message) != IMAGE_OK)
        fail_msg("%s: %s", name, message.text);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    image_free(&image);
    free(bytes);
}

static int exists(const char *name)
{
    return access(in_folder("%s", name), F_OK) == 0;
}

/* Image i of a class of ten: a bar whose height and slant tell the class. */
static void draw(uint8_t *pixels, size_t side, size_t class_index, size_t i)
{
    memset(pixels, 0, side * side);
    for (size_t y = 4; y + 4 < side; y++) {
        size_t x = 4 + i % 3 + (class_index % 2 ? y / 2 : 0);
        for (size_t w = 0; w < 2 + class_index / 2 && x + w < side; w++)
            pixels[y * side + x + w] = (uint8_t)(255 - i % 40);
    }
}

static void put_clothes(const char *prefix, size_t n)
{
    uint8_t *pixels = malloc(n * 28 * 28), *labels = malloc(n);
    assert_true(pixels && labels);
    for (size_t i = 0; i < n; i++) {
        labels[i] = (uint8_t)(i % 10);
        draw(pixels + i * 28 * 28, 28, i % 10, i / 10);
    }
    put_idx(prefix, n, 28, 28, pixels, labels);
    free(pixels);
    free(labels);
}

static void test_clothes(void **state)
{
    (void)state;
    static const char clothes[] =
        "T-shirt,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Boot";
    folder_clear();
    put_clothes("train", 120);
    put_clothes("t10k", 30);
    expect(run_trainer(output, sizeof output,
                       "train --data . --out f.safetensors --labels %s --name clothes --test "
                       "--holdout 20 " SMALL, clothes),
           0, "wrote f.sheet.png");
    assert_true(says("100 training images, 20 held out"));
    expect(run_trainer(output, sizeof output, "info f.safetensors"), 0,
           "[\"T-shirt\",\"Trouser\",\"Pullover\",\"Dress\",\"Coat\",\"Sandal\",\"Shirt\","
           "\"Sneaker\",\"Bag\",\"Boot\"]");
    check_picture("f.curve.png", 900, 700);
    /* The widest label, "Pullover" (94), and twelve columns of 56. */
    check_picture("f.sheet.png", 94 + 24 + 12 * 68, 12 + 10 * (56 + 2 + 56 + 12));

    expect(run_trainer(output, sizeof output,
                       "eval f.safetensors --data . --threads 1 --mistakes wrong.png"),
           0, "wrote wrong.png with ");
    const char *wrong = strstr(output, "wrong.png with ");
    const size_t n = (size_t)strtoul(wrong + strlen("wrong.png with "), NULL, 10);
    assert_in_range(n, 0, 30);
    check_picture("wrong.png", 12 + 6 * (84 + 2 + 84 + 12),
                  12 + (n ? (n + 5) / 6 : 1) * (84 + 18 + 4 + 12));
    expect(run_trainer(output, sizeof output,
                       "eval f.safetensors --data . --threads 1 --mistakes no/wrong.png"),
           1, "no/wrong.png cannot be written: No such file");
    expect(run_trainer(output, sizeof output,
                       "train --data . --out g.safetensors --labels a,b --test " SMALL),
           1, "--labels must name 10 classes");
}

static const char *const names[] = {"circle", "bar", "10", "gr\xc3\xbcn"};

static void put_shapes(size_t channels)
{
    uint8_t pixels[20 * 20];
    for (size_t j = 0; j < 4; j++)
        for (size_t i = 0; i < 12; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s/%s/%zu.png", i < 9 ? "train" : "t10k", names[j], i);
            draw(pixels, 20, 2 * j, i);
            if (channels == 3)
                put_png(name, 20, 20, 3, (uint8_t)(60 * j), (uint8_t)(20 * i));
            else
                put_picture(name, 20, 20, pixels);
        }
}

static void test_folders(void **state)
{
    (void)state;
    folder_clear();
    put_shapes(1);
    expect(run_trainer(output, sizeof output, "train --data . --out s --test --limit 20 " SMALL),
           0, "20 training images, 0 held out");
    expect(run_trainer(output, sizeof output, "info s"), 0,
           "[\"10\",\"bar\",\"circle\",\"gr\xc3\xbcn\"]");
    check_picture("s.curve.png", 900, 700);
    check_picture("s.sheet.png", 70 + 24 + 12 * 52, 12 + 4 * (40 + 2 + 40 + 12));
    /* A test set that lacks a class is matched by the classes' names. */
    for (size_t i = 9; i < 12; i++)
        unlink(in_folder("t10k/bar/%zu.png", i));
    rmdir(in_folder("t10k/bar"));
    expect(run_trainer(output, sizeof output, "eval s --data . --threads 1 --answers a.txt"), 0,
           " of 9 wrong)");
    size_t wrong, listed = 0, nbytes;
    assert_int_equal(sscanf(strstr(output, "error"), "error %*f %% (%zu of 9", &wrong), 1);
    char *answers = (char *)get_file("a.txt", &nbytes), *line = answers;
    for (size_t i = 0; i < 9; i++, line += 2) {
        static const char truth[] = {'0', '2', '3'};
        listed += *line != truth[i % 3];
    }
    assert_int_equal(nbytes, 18);
    assert_int_equal(listed, wrong);
    free(answers);
    expect(run_trainer(output, sizeof output, "eval s --data . --set train --threads 1"), 0,
           " of 36 wrong)");

    expect(run_trainer(output, sizeof output,
                       "train --data . --out n --no-pictures --labels A,B,C,D " SMALL),
           0, "wrote n\n");
    assert_false(exists("n.curve.png") || exists("n.sheet.png"));
    expect(run_trainer(output, sizeof output, "info n"), 0, "[\"A\",\"B\",\"C\",\"D\"]");
    expect(run_trainer(output, sizeof output, "eval n --data . --set train --threads 1"), 0,
           " of 36 wrong)"); /* by their order */
    expect(run_trainer(output, sizeof output,
                       "train --data . --out o --labels A,bar,C,D " SMALL),
           1, "--labels: \"bar\" is the name of a folder of images already");
}

static void test_colour(void **state)
{
    (void)state;
    folder_clear();
    put_shapes(3);
    expect(run_trainer(output, sizeof output, "train --data . --out c.safetensors --test " SMALL),
           0, "wrote c.sheet.png");
    expect(run_trainer(output, sizeof output, "info c.safetensors"), 0, "channels               3\n");
    check_picture("c.sheet.png", 70 + 24 + 12 * 52, 12 + 4 * (40 + 2 + 40 + 12));
}

/* The curve of a run that was broken off is that of one that was not. */
static void test_resumed_curve(void **state)
{
    (void)state;
    size_t nbytes, others;
    folder_clear();
    put_shapes(1);
    expect(run_trainer(output, sizeof output,
                       "train --data . --out r.safetensors --holdout 8 " SMALL),
           0, "wrote r.curve.png");
    uint8_t *whole = get_file("r.curve.png", &nbytes);
    unlink(in_folder("r.curve.png"));
    unlink(in_folder("r.safetensors"));
    expect(run_trainer(output, sizeof output,
                       "train --data . --out r.safetensors --holdout 8 --resume " SMALL),
           0, "wrote r.curve.png");
    assert_false(says("epoch 2/2"));
    uint8_t *resumed = get_file("r.curve.png", &others);
    assert_int_equal(others, nbytes);
    assert_memory_equal(resumed, whole, nbytes);
    free(whole);
    free(resumed);
}

/* Each is said before the first step, so that no checkpoint exists. */
static void refuse_to_train(const char *more, const char *text)
{
    expect(run_trainer(output, sizeof output, "train --data . --out x --test %s " SMALL, more), 1,
           text);
    if (says("training images,") || exists("x.checkpoint"))
        fail_msg("the training began: %s", output);
}

static void test_refusals(void **state)
{
    (void)state;
    folder_clear();
    refuse_to_train("", "there is neither train-images-idx3-ubyte[.gz] nor train/");
    put_shapes(1);
    refuse_to_train("--labels a,b,c,\xff", "the command line: this is not UTF-8");
    put_png("train/bar/big.png", 21, 20, 1, 0, 0);
    refuse_to_train("", "train/bar/big.png is 21 x 20, but ");
    unlink(in_folder("train/bar/big.png"));
    put_file("t10k/bar/x.png", "no picture", 10);
    refuse_to_train("", "t10k/bar/x.png: this is not a PNG");
    unlink(in_folder("t10k/bar/x.png"));
    put_png("t10k/other/1.png", 20, 20, 1, 0, 0);
    refuse_to_train("", "the class \"other\" is none of the model's");
    unlink(in_folder("t10k/other/1.png"));
    rmdir(in_folder("t10k/other"));
    put_png("train/\xff/1.png", 20, 20, 1, 0, 0);
    refuse_to_train("", "\xff: this is not UTF-8");
    for (size_t i = 9; i < 12; i++) /* one test image, of another size */
        for (size_t j = 0; j < 4; j++)
            unlink(in_folder("t10k/%s/%zu.png", names[j], i));
    for (size_t j = 1; j < 4; j++)
        rmdir(in_folder("t10k/%s", names[j]));
    unlink(in_folder("train/\xff/1.png"));
    rmdir(in_folder("train/\xff"));
    put_png("t10k/circle/1.png", 20, 21, 1, 0, 0);
    refuse_to_train("", "the images are 21 x 20 x 1 (height, width, channels), but the model takes 20 x 20 x 1");
    folder_clear();
    put_png("train/only/1.png", 20, 20, 1, 0, 0);
    refuse_to_train("", "classes is 1, but must be 2 to 256");
    put_png("train/second/1.png", 20, 20, 1, 0, 0);
    refuse_to_train("", "there is neither t10k-images-idx3-ubyte[.gz] nor t10k/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clothes),        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_colour),         cmocka_unit_test(test_resumed_curve),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, folder_create, folder_remove);
}
