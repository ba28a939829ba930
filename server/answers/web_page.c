/*
 * web_page.c - GET / and the files of the page, and GET /openapi.json, which
 * describes it all: embedded at build.
 *
 * Their bytes come in through the assembler's .incbin, which every ELF
 * architecture and cross compiler has.  The Makefile names them as
 * prerequisites of this object: the compiler does not see them.
 */
#include "server/answers/answers.h"

#include <stdio.h>
#include <string.h>

#include "server/answers/routes.h"

#define EMBED(name, file)                                                                          \
    __asm__(".pushsection .rodata\n"                                                               \
            ".global web_" #name "\nweb_" #name ":\n"                                              \
            ".incbin \"server/web/" file "\"\n"                                                    \
            ".global web_" #name "_end\nweb_" #name "_end:\n"                                      \
            ".byte 0\n"                                                                            \
            ".popsection\n");                                                                      \
    __attribute__((visibility("hidden"))) extern const char web_##name[], web_##name##_end[]

EMBED(index, "index.html");
EMBED(style, "style.css");
EMBED(page, "page.js");
EMBED(pad, "pad.js");
EMBED(client, "client.js");
EMBED(plot, "plot.js");
EMBED(samples, "samples.js");
EMBED(openapi, "openapi.json");

static const struct {
    const char *path, *content_type, *bytes, *end;
} FILES[] = {
    {"/", "text/html; charset=utf-8", web_index, web_index_end},
    {"/openapi.json", "application/json", web_openapi, web_openapi_end},
    {"/web/style.css", "text/css; charset=utf-8", web_style, web_style_end},
    {"/web/page.js", "text/javascript; charset=utf-8", web_page, web_page_end},
    {"/web/pad.js", "text/javascript; charset=utf-8", web_pad, web_pad_end},
    {"/web/client.js", "text/javascript; charset=utf-8", web_client, web_client_end},
    {"/web/plot.js", "text/javascript; charset=utf-8", web_plot, web_plot_end},
    {"/web/samples.js", "text/javascript; charset=utf-8", web_samples, web_samples_end},
};

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
    size_t i = 0;
    while (strcmp(FILES[i].path, request->route->path) != 0)
        i++; /* routes.c names no other */
    struct answer *answer = &request->answer;
    *answer = (struct answer){.status = 200,
                              .content_type = FILES[i].content_type,
                              .headers = HEADERS,
                              .is_constant = 1};
    size_t nbytes = (size_t)(FILES[i].end - FILES[i].bytes);
    make_etag(answer->etag, FILES[i].bytes, nbytes);
    answer->body = (char *)FILES[i].bytes; /* constant: nobody writes to it */
    answer->nbytes = nbytes;
    if (request->if_none_match && strstr(request->if_none_match, answer->etag))
        answer->status = 304; /* libmicrohttpd sends the length, but not the body */
    return answer->status;
}
