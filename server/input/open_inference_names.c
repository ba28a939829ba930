/* open_inference_names.c - the output tensors' names, datatypes and shapes; see open_inference.h. */
#include "server/input/open_inference.h"

const char *oip_name(enum oip_tensor tensor)
{
    static const char *const NAMES[] = {[OIP_PROBABILITIES] = "probabilities",
                                        [OIP_POSES] = "poses",
                                        [OIP_RECONSTRUCTION] = "reconstruction",
                                        [OIP_CLASS] = "class",
                                        [OIP_COUPLING] = "coupling"};
    return NAMES[tensor];
}

const char *oip_datatype(enum oip_tensor tensor)
{
    return tensor == OIP_CLASS ? "INT64" : "FP32";
}

size_t oip_shape(size_t dims[OIP_MAX_RANK], enum oip_tensor tensor,
                 const struct capsnet_shape *shape, size_t n)
{
    dims[0] = n;
    switch (tensor) {
    case OIP_PROBABILITIES:
        dims[1] = shape->classes;
        return 2;
    case OIP_POSES:
        dims[1] = shape->classes;
        dims[2] = shape->pose_dims;
        return 3;
    case OIP_RECONSTRUCTION:
        dims[1] = shape->height;
        dims[2] = shape->width;
        dims[3] = shape->channels;
        return shape->channels == 1 ? 3 : 4;
    case OIP_COUPLING:
        dims[1] = capsnet_capsules(shape);
        dims[2] = shape->classes;
        return 3;
    case OIP_CLASS:
        break;
    }
    return 1;
}
