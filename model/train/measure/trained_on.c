/*
 * trained_on.c - see trained_on.h.
 */
#include "model/train/measure/trained_on.h"

#include <string.h>

#include "model/train/data/pairs.h"

const char *trained_metadata(const struct capsnet_model *model, const char *key)
{
    const char *name, *value;
    for (size_t i = 0; capsnet_model_metadata(model, i, &name, &value); i++)
        if (strcmp(name, key) == 0)
            return value;
    return NULL;
}

int trained_on_pairs(const struct capsnet_model *model)
{
    return model->frame.objects > 1;
}

enum capsnet_status trained_place(struct dataset *placed, const struct capsnet_model *model,
                                  const struct dataset *data, const uint32_t *index, size_t n,
                                  uint64_t seed, struct capsnet_error *error)
{
    if (model->frame.height < model->shape.height || model->frame.width < model->shape.width)
        return pairs_single(placed, data, index, n, model->shape.width, seed, error);
    *placed = (struct dataset){0};
    return CAPSNET_OK;
}
