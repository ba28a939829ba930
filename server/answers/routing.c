/* routing.c - the rounds of routing as JSON; see routing.h. */
#include "server/answers/routing.h"

/* Appends ,\n   "name": [classes][h][w]. */
static void add_maps(struct text *text, const char *name, const float *maps,
                     const struct capsnet_shape *shape)
{
    const size_t h = capsnet_places(shape, shape->height), w = capsnet_places(shape, shape->width);
    text_addf(text, ",\n   \"%s\": [", name);
    for (size_t j = 0; j < shape->classes; j++) {
        text_add(text, j ? ",\n    " : "\n    ");
        json_add_rows(text, maps + j * h * w, h, w);
    }
    text_add(text, "]");
}

void routing_add_json(struct text *text, const struct request *request, size_t i)
{
    const struct capsnet_shape *shape = request_shape(request);
    const struct capsnet_routing *routing = &request->job.routing[i];
    const size_t h = capsnet_places(shape, shape->height), w = capsnet_places(shape, shape->width);
    text_addf(text, "{\"grid\": [%zu,%zu], \"rounds\": [", h, w);
    for (size_t r = 0; r < shape->routing_iterations; r++) {
        const size_t row = r * shape->classes;
        text_add(text, r ? ",\n  {\"lengths\": " : "\n  {\"lengths\": ");
        json_add_floats(text, routing->lengths + row, shape->classes);
        add_maps(text, "coupling", routing->coupling + row * h * w, shape);
        add_maps(text, "votes", routing->votes + row * h * w, shape);
        text_add(text, "}");
    }
    text_add(text, "]}");
}
