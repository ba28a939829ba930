/*
 * measured.c - the images that a run is measured by: those held out, where they are, and
 * pairs of them: the same pictures whatever the run's seed, so that runs can be compared.
 */
#include "model/train/learn/run_state.h"

/* Held-out images, or the training images as they are when none are held out, in t->data. */
static struct measured from_data(const struct trainer *t)
{
    if (t->n_holdout)
        return (struct measured){&t->data, t->split + t->n_train + t->n_skipped, t->n_holdout};
    return (struct measured){&t->data, t->split, t->data.n};
}

struct measured trainer_measured(const struct trainer *t)
{
    if (t->placed.n)
        return (struct measured){&t->placed, NULL, t->placed.n};
    return from_data(t);
}

enum capsnet_status trainer_place(const struct trainer *t, struct dataset *placed,
                                  const struct dataset *data, const uint32_t *index, size_t n,
                                  struct capsnet_error *error)
{
    return pairs_single(placed, data, index, n, t->augmentation.canvas, PAIRS_SEED, error);
}

enum capsnet_status trainer_place_measured(struct trainer *t, struct capsnet_error *error)
{
    const struct measured m = from_data(t);
    enum capsnet_status status = CAPSNET_OK;
    if (t->augmentation.canvas)
        status = trainer_place(t, &t->placed, m.data, m.index, m.n, error);
    if (status == CAPSNET_OK && t->options->pairs && t->n_holdout)
        status = pairs_draw(&t->held_pairs, m.data, m.index, m.n, 1, t->augmentation.canvas,
                            PAIRS_SEED, error);
    return status;
}
