/* foreign_format.h - what a picture is that is no PNG. */
#ifndef CAPSNET_FOREIGN_FORMAT_H
#define CAPSNET_FOREIGN_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/* Names the format of bytes that are no PNG, or no longer one, and what to do, in
 * a clause that can follow "images[2]: "; NULL when they look like no picture. */
const char *foreign_format(const uint8_t *bytes, size_t nbytes);

#endif
