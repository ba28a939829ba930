/*
 * web_page.c - GET / and the files of the page, and GET /openapi.json, which
 * describes it all: embedded at build.
 *
 * Their bytes come in through the assembler's .incbin, which every ELF
 * architecture and cross compiler has.  The Makefile names them as
 * prerequisites of this object: the compiler does not see them.
 */
#include "server/answers/web_page.h"

#include <stdio.h>
#include <string.h>

#include "server/answers/answers.h"

/* Defines a struct web_file of that name: its media type, and the bytes of a file. */
#define EMBED(name, type, path)                                                            \
    __asm__(".pushsection .rodata\n"                                                       \
            #name "_bytes:\n"                                                              \
            ".incbin \"server/web/" path "\"\n"                                            \
            #name "_end:\n"                                                                \
            ".byte 0\n"                                                                    \
            ".popsection\n");                                                              \
    extern const char name##_bytes[], name##_end[];                                        \
    const struct web_file name = {type, name##_bytes, name##_end}

EMBED(web_index, "text/html; charset=utf-8", "index.html");
EMBED(web_style, "text/css; charset=utf-8", "style.css");
EMBED(web_panels, "text/css; charset=utf-8", "panels.css");
EMBED(web_page, "text/javascript; charset=utf-8", "page.js");
EMBED(web_pad, "text/javascript; charset=utf-8", "pad.js");
EMBED(web_client, "text/javascript; charset=utf-8", "client.js");
EMBED(web_plot, "text/javascript; charset=utf-8", "plot.js");
EMBED(web_samples, "text/javascript; charset=utf-8", "samples.js");
EMBED(web_dom, "text/javascript; charset=utf-8", "dom.js");
EMBED(web_link, "text/javascript; charset=utf-8", "link.js");
EMBED(web_number, "text/javascript; charset=utf-8", "number.js");
EMBED(web_nudge, "text/javascript; charset=utf-8", "nudge.js");
EMBED(web_pair, "text/javascript; charset=utf-8", "pair.js");
EMBED(web_parts, "text/javascript; charset=utf-8", "parts.js");
EMBED(web_save, "text/javascript; charset=utf-8", "save.js");
EMBED(web_state, "text/javascript; charset=utf-8", "state.js");
EMBED(web_turn, "text/javascript; charset=utf-8", "turn.js");
EMBED(web_votes, "text/javascript; charset=utf-8", "votes.js");
EMBED(web_openapi, "application/json", "openapi.json");

/* The page loads nothing from elsewhere and may be framed by nobody. */
static const char *const HEADERS[] = {
    "Cache-Control", "no-cache",
    "Content-Security-Policy",
    "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options", "nosniff",
    "Referrer-Policy", "no-referrer",
    NULL,
};

/* FNV-1a, 64 bits: tells one build's file from another's. */
static void make_etag(char etag[ETAG_SIZE], const char *bytes, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    snprintf(etag, ETAG_SIZE, "\"%016llx\"", (unsigned long long)hash);
}

unsigned web_answer(struct request *request)
{
    const struct web_file *file = request->route->file;
    struct answer *answer = &request->answer;
    *answer = (struct answer){.status = 200,
                              .content_type = file->content_type,
                              .headers = HEADERS,
                              .is_owned_elsewhere = 1};
    size_t nbytes = (size_t)(file->end - file->bytes);
    make_etag(answer->etag, file->bytes, nbytes);
    answer->body = (char *)file->bytes; /* constant: nobody writes to it */
    answer->nbytes = nbytes;
    if (request->if_none_match && strstr(request->if_none_match, answer->etag))
        answer->status = 304; /* libmicrohttpd sends the length, but not the body */
    return answer->status;
}
