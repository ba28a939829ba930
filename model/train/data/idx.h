/*
 * idx.h - MNIST's file format, plain or gzipped.
 * Format: the description on the MNIST page (magic 0x0000TTDD, big-endian
 * 32-bit dimensions, then the values).
 */
#ifndef CAPSNET_IDX_H
#define CAPSNET_IDX_H

#include "model/capsnet.h"
#include "model/train/data/dataset.h"

/* Loads the pair PREFIX-images-idx3-ubyte and PREFIX-labels-idx1-ubyte, each
 * plain or with .gz, from a folder: dataset_load_idx(&d, "data", "t10k", &e).
 * Checks magic, dimensions, lengths (too short and too long) and that both
 * files count the same.  Returns OK, ERR_IO, ERR_FORMAT, ERR_MEMORY. */
CAPSNET_MUST_CHECK enum capsnet_status
dataset_load_idx(struct dataset *dataset, const char *folder, const char *prefix,
                 struct capsnet_error *error);

#endif
