/* container_of.h - from a member back to the struct that it is embedded in. */
#ifndef CAPSNETD_CONTAINER_OF_H
#define CAPSNETD_CONTAINER_OF_H

#include <stddef.h>

/* The struct of that type whose member of that name pointer points to. */
#define container_of(pointer, type, member) \
    ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

#endif
