/*
 * level_table.c - the level's table.
 */
#include "model/kernels/vector.h"

extern const struct kernels PRODUCT(kernels);

#define KERNEL_STRING2(x) #x
#define KERNEL_STRING(x) KERNEL_STRING2(x)

const struct kernels PRODUCT(kernels) = {
    .level = KERNEL_STRING(PRODUCT_LEVEL),
    .gemm = PRODUCT(gemm),
    .find_words = KERNEL(find_words),
    .list_words = KERNEL(list_words),
    .gemm_sparse = KERNEL(gemm_sparse),
    .conv_sparse = KERNEL(conv_sparse),
    .used_columns = KERNEL(used_columns),
    .transpose = KERNEL(transpose),
    .to_points = KERNEL(to_points),
    .from_points = KERNEL(from_points),
    .route = KERNEL(route),
    .route_backward = KERNEL(route_backward),
    .predict_backward = KERNEL(predict_backward),
    .combine = KERNEL(combine),
    .gather_capsules = KERNEL(gather_capsules),
    .predict_images = KERNEL(predict_images),
    .route_image = KERNEL(route_image),
    .squash = KERNEL(squash),
    .squash_backward = KERNEL(squash_backward),
    .adam = KERNEL(adam),
    .positive = KERNEL(positive),
    .relu_backward = KERNEL(relu_backward),
    .sigmoid = KERNEL(sigmoid),
#if HAS_F16
    .gemm_sparse_f16 = KERNEL(gemm_sparse_f16),
    .gemm_f16 = KERNEL(gemm_f16),
    .predict_images_f16 = KERNEL(predict_images_f16),
#endif
#if defined(__AVX512VNNI__)
    .gemm_int8 = KERNEL(gemm_int8),
    .gemm_sparse_int8 = KERNEL(gemm_sparse_int8),
    .conv_sparse_int8 = KERNEL(conv_sparse_int8),
    .largest = KERNEL(largest),
    .quantise = KERNEL(quantise),
    .gemm3_int8 = KERNEL(gemm3_int8),
    .quantise_signed = KERNEL(quantise_signed),
    .words_int8 = KERNEL(words_int8),
    .zip_u8 = KERNEL(zip_u8),
#endif
#if defined(__AVX512BF16__)
    .gemm_bf16 = KERNEL(gemm_bf16),
    .gemm_sparse_bf16 = KERNEL(gemm_sparse_bf16),
    .conv_sparse_bf16 = KERNEL(conv_sparse_bf16),
    .gemm3_bf16 = KERNEL(gemm3_bf16),
    .to_bf16 = KERNEL(to_bf16),
    .pair_rows_bf16 = KERNEL(pair_rows_bf16),
    .predict_images_bf16 = KERNEL(predict_images_bf16),
    .predict_images_int8 = KERNEL(predict_images_int8),
    .route_image_bf16 = KERNEL(route_image_bf16),
    .stream_pair_bf16 = KERNEL(stream_pair_bf16),
    .zip_bf16 = KERNEL(zip_bf16),
    .transpose_bf16 = KERNEL(transpose_bf16),
    .relu_backward_bf16 = KERNEL(relu_backward_bf16),
    .to_points_bf16 = KERNEL(to_points_bf16),
#endif
};
