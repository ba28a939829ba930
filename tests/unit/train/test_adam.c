/*
 * test_adam.c - the optimiser's scaled PrimaryCaps, at every CPU level; the
 * equations themselves are kernels' (test_kernels_elementwise.c).  SEED repeats
 * the gradients.
 */
#include <math.h>
#include <stdint.h>

#include "model/train/learn/adam.h"
#include "model/machine/huge_pages.h"
#include "tests/common/small_network.h"

struct optimiser {
    struct small s;
    struct capsnet_workspace *ws;
    struct adam adam;
    float *grad;
};

static void optimiser_create(struct optimiser *p, const char *level, struct random random)
{
    struct capsnet_error error;
    const struct capsnet_shape shape = small_shape();
    small_create(&p->s, &shape, level, &random);
    if (workspace_create(&p->ws, p->s.model, 1, 2, 1, &error) != CAPSNET_OK)
        fail_msg("%s", error.text);
    const size_t bytes = p->s.at->total * sizeof(float);
    p->adam = (struct adam){.m = huge_alloc(bytes), .v = huge_alloc(bytes)};
    p->grad = huge_alloc(bytes);
    assert_true(p->adam.m && p->adam.v && p->grad);
}

static void optimiser_free(struct optimiser *p)
{
    const size_t bytes = p->s.at->total * sizeof(float);
    huge_free(p->adam.m, bytes);
    huge_free(p->adam.v, bytes);
    huge_free(p->grad, bytes);
    capsnet_workspace_free(p->ws);
    capsnet_model_free(p->s.model);
}

/* Two runs: of W with the network computing scale * W, so that W's gradient is
 * scale times that of the product; and of the product itself.  They stay each
 * other's images, and all other weights are the same to the bit. */
static void test_primary_scale(const struct kernels *k, struct random *random,
                               struct worst *worst)
{
    enum { TURNS = 20 };
    const float scale = 1.0f / 32; /* a product with it is exact */
    struct optimiser apart, folded;
    optimiser_create(&apart, k->level, *random);
    optimiser_create(&folded, k->level, *random);
    const struct layout *at = apart.s.at;
    float *w = apart.s.model->parameters, *product = folded.s.model->parameters;
    for (size_t i = at->primary_weight; i < at->primary_bias; i++)
        product[i] = scale * w[i];
    for (size_t turn = 0; turn < TURNS; turn++) {
        for (size_t i = 0; i < at->total; i++) {
            const int is_scaled = i >= at->primary_weight && i < at->primary_bias;
            /* Of half of them epsilon decides. */
            folded.grad[i] = (float)random_real(random) * (i % 2 ? 1e-7f : 1);
            apart.grad[i] = folded.grad[i] * (is_scaled ? scale : 1);
        }
        adam_update(apart.ws, w, apart.grad, &apart.adam, 0.01, 0, 1);
        adam_update(folded.ws, product, folded.grad, &folded.adam, 0.01, 0, (double)scale);
    }
    for (size_t i = at->primary_weight; i < at->primary_bias; i++)
        check_value(worst, (double)product[i] / (double)scale, (double)w[i],
                    TURNS * ROUNDING * (8 * 0.01 + fabs((double)w[i])), "kernel weight %zu", i);
    check_bits(product, w, at->primary_weight, "what lies before the kernels");
    check_bits(product + at->primary_bias, w + at->primary_bias, at->total - at->primary_bias,
               "what lies behind the kernels");
    optimiser_free(&apart);
    optimiser_free(&folded);
    check_release();
}

int main(void)
{
    static const struct check checks[] = {{"the scale of PrimaryCaps", test_primary_scale, NULL}};
    return check_main(checks, sizeof checks / sizeof *checks);
}
