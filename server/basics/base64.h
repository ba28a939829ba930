/* base64.h - RFC 4648, for pictures inside JSON. */
#ifndef CAPSNETD_BASE64_H
#define CAPSNETD_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Encode: as section 4 has it, padded; dst holds base64_encoded_size(n) bytes
 * including the terminating 0.  Decode: that or the alphabet of section 5 (URL-safe),
 * padded or not; white space is skipped; dst holds n * 3 / 4 + 3 bytes; returns 0 on
 * success, -1 when the text is not base64. */
size_t base64_encoded_size(size_t nbytes);
void base64_encode(char *dst, const uint8_t *bytes, size_t nbytes);
int base64_decode(uint8_t *dst, size_t *dst_nbytes, const char *text, size_t text_nbytes);

#endif
