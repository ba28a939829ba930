/*
 * inference.h - a model at work: which plan a batch takes, the way through the
 * layers, and the weights as that way reads them.  In: pixels, or poses.  Out:
 * lengths and poses, or pictures.  What programs call is declared in capsnet.h.
 */
#ifndef CAPSNET_INFERENCE_H
#define CAPSNET_INFERENCE_H

#include "model/network/workspace.h"

/* How PrimaryCaps is computed. */
enum plan { PLAN_DIRECT, PLAN_SPECTRAL, PLANS };

/* The plan for a batch of n images: the one place that chooses. */
enum plan plan_for(const struct capsnet_model *model, size_t n);

/* capsnet_forward_routing() by a plan of the caller's; PLAN_SPECTRAL needs a spectrum.
 * routing: NULL when nothing is asked, as it must be in training. */
void forward_by_plan(struct capsnet_workspace *ws, enum plan plan, size_t n, const float *images,
                     float *lengths, float *poses, const struct capsnet_routing *const *routing);

/* Puts conv1's channels in the order of the most that each can reach, its bias with the sum
 * of its positive weights, as pixels are 0 to 1: what no stroke makes fire comes last, where
 * the spectral plan leaves it out.  The network stays the same; its parameters are no more
 * as the file has them. */
CAPSNET_MUST_CHECK enum capsnet_status model_order_channels(struct capsnet_model *model,
                                                            struct capsnet_error *error);

/* Makes what inference reads beside the parameters, the spectrum among it, anew
 * from them. */
CAPSNET_MUST_CHECK enum capsnet_status model_pack(struct capsnet_model *model,
                                                  struct capsnet_error *error);
/* Gives back the parameters that inference then reads no more: they become
 * zero. */
void model_release(struct capsnet_model *model);

#endif
