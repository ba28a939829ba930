/* inflate_body.c - see inflate_body.h. */
#include "server/request/inflate_body.h"

#include <limits.h>
#include <strings.h>

#include <zlib.h>

/* zlib's names for what is around the deflated data. */
enum { WINDOW_ZLIB = MAX_WBITS, WINDOW_GZIP = MAX_WBITS + 16, WINDOW_RAW = -MAX_WBITS };

enum { PIECE_BYTES = 16384 };

int content_coding(enum content_coding *coding, const char *header)
{
    static const struct {
        const char *name;
        enum content_coding coding;
    } CODINGS[] = {{"identity", CODING_IDENTITY},
                   {"gzip", CODING_GZIP},
                   {"x-gzip", CODING_GZIP},
                   {"deflate", CODING_DEFLATE}};
    *coding = CODING_IDENTITY;
    for (size_t i = 0; header && i < sizeof CODINGS / sizeof *CODINGS; i++) {
        if (strcasecmp(header, CODINGS[i].name) == 0) {
            *coding = CODINGS[i].coding;
            return 1;
        }
    }
    return !header;
}

/* "deflate" means zlib's format (RFC 9110, 8.4.1.2); some send the deflated data bare.
 * zlib's has a header whose method is 8 and which, as a number, 31 divides (RFC 1950). */
static int window_bits(const struct request *r, const struct text *packed)
{
    const unsigned char *at = (const unsigned char *)packed->bytes;
    if (r->coding == CODING_GZIP)
        return WINDOW_GZIP;
    return packed->n >= 2 && (at[0] & 15) == 8 && (at[0] * 256 + at[1]) % 31 == 0 ? WINDOW_ZLIB
                                                                                 : WINDOW_RAW;
}

static unsigned refuse_damaged(struct request *r, const char *how)
{
    return request_refuse(r, REFUSED_INVALID_PARAMETER,
                          "Content-Encoding: the body is not %s data, or %s",
                          r->coding == CODING_GZIP ? "gzip" : "deflate", how);
}

/* Inflates all of stream's input into the body.  gzip data may be several members, one
 * behind the other (RFC 1952, 2.2). */
static unsigned inflate_all(struct request *r, z_stream *stream)
{
    const size_t max = r->service->options->max_body_bytes;
    unsigned char piece[PIECE_BYTES];
    int result = Z_OK;
    do {
        if (result == Z_STREAM_END)
            inflateReset(stream);
        stream->next_out = piece;
        stream->avail_out = sizeof piece;
        result = inflate(stream, Z_NO_FLUSH);
        if (result == Z_MEM_ERROR)
            return request_refuse_no_memory(r);
        if (result == Z_BUF_ERROR)
            return refuse_damaged(r, "ends too early");
        if (result != Z_OK && result != Z_STREAM_END)
            return refuse_damaged(r, "it is damaged");
        const size_t n = sizeof piece - stream->avail_out;
        if (n > max - r->body.n)
            return request_refuse(r, REFUSED_TOO_LARGE, "the body inflates to more than %zu bytes",
                                  max);
        unsigned status = request_add_body(r, (const char *)piece, n);
        if (status)
            return status;
    } while (result == Z_OK || (r->coding == CODING_GZIP && stream->avail_in));
    return stream->avail_in ? refuse_damaged(r, "something else follows it") : 0;
}

unsigned inflate_body(struct request *r)
{
    if (r->coding == CODING_IDENTITY || r->body.n == 0)
        return 0;
    /* Until it is inflated the packed body counts too. */
    struct text packed = r->body;
    const size_t packed_counted = r->body_counted;
    r->body = (struct text){0};
    r->body_counted = 0;
    z_stream stream = {.next_in = (Bytef *)packed.bytes};
    unsigned status;
    if (packed.n > UINT_MAX) {
        status = request_refuse(r, REFUSED_TOO_LARGE, "the body is too large to be inflated");
    } else if (inflateInit2(&stream, window_bits(r, &packed)) != Z_OK) {
        status = request_refuse_no_memory(r);
    } else {
        stream.avail_in = (uInt)packed.n;
        status = inflate_all(r, &stream);
        inflateEnd(&stream);
    }
    text_free(&packed);
    atomic_fetch_sub(&r->service->body_bytes, packed_counted);
    return status;
}
