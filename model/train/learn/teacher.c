/*
 * teacher.c - see teacher.h.
 */
#include "model/train/learn/teacher.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "model/weights_file/model_file.h"

static enum capsnet_status check_shape(const struct capsnet_shape *theirs, const char *path,
                                       const struct capsnet_shape *ours, int with_poses,
                                       struct capsnet_error *error)
{
    if (theirs->height != ours->height || theirs->width != ours->width ||
        theirs->channels != ours->channels || theirs->classes != ours->classes)
        snprintf(error->text, sizeof error->text,
                 "--teacher %.200s: it knows %zu classes of images of %zu x %zu x %zu; here are %zu "
                 "of %zu x %zu x %zu",
                 path, theirs->classes, theirs->height, theirs->width, theirs->channels,
                 ours->classes, ours->height, ours->width, ours->channels);
    else if (with_poses && theirs->pose_dims != ours->pose_dims)
        snprintf(error->text, sizeof error->text,
                 "--teacher %.200s: its poses have %zu dimensions, those of --pose %zu", path,
                 theirs->pose_dims, ours->pose_dims);
    else
        return CAPSNET_OK;
    return CAPSNET_ERR_SHAPE;
}

enum capsnet_status teacher_load(struct teacher *t, const char *path, const char *cpu_level,
                                 const char *precision, const struct capsnet_shape *shape, int with_poses,
                                 size_t max_batch, size_t threads, struct capsnet_error *error)
{
    const struct capsnet_options options = {cpu_level, precision, "full", NULL};
    enum capsnet_status status = model_load_whole(&t->model, path, &options, error);
    if (status == CAPSNET_OK)
        status = check_shape(&t->model->shape, path, shape, with_poses, error);
    if (status == CAPSNET_OK)
        status = capsnet_workspace_create(&t->ws, t->model, max_batch, threads, error);
    if (status != CAPSNET_OK)
        return status;
    t->lengths = malloc(max_batch * shape->classes * sizeof *t->lengths);
    t->poses = malloc(max_batch * t->model->at.outputs * sizeof *t->poses);
    t->checksum = (uint32_t)crc32_z(0, (const Bytef *)t->model->parameters,
                                    t->model->at.total * sizeof(float));
    if (t->lengths && t->poses)
        return CAPSNET_OK;
    snprintf(error->text, sizeof error->text, "not enough memory for the teacher's answers");
    return CAPSNET_ERR_MEMORY;
}

void teacher_answer(struct teacher *t, size_t n, const float *images)
{
    capsnet_forward(t->ws, n, images, t->lengths, t->poses);
}

void teacher_free(struct teacher *t)
{
    free(t->lengths);
    free(t->poses);
    capsnet_workspace_free(t->ws);
    capsnet_model_free(t->model);
    *t = (struct teacher){0};
}
