/* options.c - see options.h. */
#include "server/basics/options.h"

#include <stdlib.h>
#include <string.h>

#include "server/basics/metrics.h"

#define DAY_S 86400

enum { MAX_OPTIONS = 32 };

/* The defaults into *o, and the options that lead there into entries. */
static struct option_table table_of(struct option_entry entries[MAX_OPTIONS], struct options *o)
{
    static const struct options defaults = {
        .listen = "127.0.0.1:8080",
        .listen_mode = "0660",
        .weights = {{{"weights", sizeof "weights" - 1}}, 1, 1},
        .max_batch = 64,
        .batch_delay_us = 0,
        .queue = 256,
        .queue_deadline_ms = 10000,
        .max_header_bytes = 16384,
        .max_body_bytes = 16777216,
        .max_images = 64,
        .max_side = 4096,
        .max_connections = 512,
        .max_connections_per_ip = 0,
        .timeout_s = 30,
        .request_deadline_s = 30,
        .drain_delay_s = 0,
        .drain_s = 25,
        .precision = "f32",
        .memory = "auto",
        .plan = "auto",
        .log_format = "text",
        .log_level = "info",
    };
    *o = defaults;
    const struct option_entry all[] = {
        {"listen", "ADDRESS", OPTION_TEXT, &o->listen, 0, 0,
         "where to serve: ADDR:PORT, [ADDR]:PORT for IPv6, port 0 for a free one; or unix:PATH, a "
         "Unix socket.  One that systemd hands over (LISTEN_FDS) is taken instead"},
        {"listen-mode", "MODE", OPTION_TEXT, &o->listen_mode, 0, 0,
         "mode of a Unix socket, in octal: who may write may connect"},
        {"weights", "PATH", OPTION_LIST, &o->weights, 0, 0,
         "trained weights: a safetensors file, or a folder of which every *.safetensors is "
         "taken by name; again for more models, the first is the default; the variable "
         "separates them by colons"},
        {"threads", "N", OPTION_SIZE, &o->threads, 1, 1024,
         "threads that compute (default: the CPUs this process may use)"},
        {"max-batch", "N", OPTION_SIZE, &o->max_batch, 1, METRICS_BATCH_MAX,
         "most images in one forward pass"},
        {"batch-delay-us", "N", OPTION_SIZE, &o->batch_delay_us, 0, 10000000,
         "microseconds that a batch waits for any more images"},
        {"queue", "N", OPTION_SIZE, &o->queue, 1, 1000000,
         "images that may wait; when so many do, requests get 503"},
        {"queue-deadline-ms", "N", OPTION_SIZE, &o->queue_deadline_ms, 1, DAY_S * 1000.0,
         "milliseconds that an image may wait; later it gets 503 and is not computed"},
        {"max-header-bytes", "N", OPTION_SIZE, &o->max_header_bytes, 256, 1 << 20,
         "largest request line and headers together, in bytes"},
        {"max-body-bytes", "N", OPTION_SIZE, &o->max_body_bytes, 1, 1 << 30,
         "largest request body, in bytes"},
        {"max-images", "N", OPTION_SIZE, &o->max_images, 1, 4096,
         "most images in one request"},
        {"max-side", "N", OPTION_SIZE, &o->max_side, 1, 32768,
         "largest width or height of an image, in pixels"},
        {"max-connections", "N", OPTION_SIZE, &o->max_connections, 1, 10000,
         "most open connections; further ones wait to be accepted"},
        {"max-connections-per-ip", "N", OPTION_SIZE, &o->max_connections_per_ip, 0, 10000,
         "most open connections of one address; further ones are closed; 0: no limit"},
        {"timeout-s", "N", OPTION_SIZE, &o->timeout_s, 1, DAY_S,
         "seconds after which a silent connection is closed"},
        {"request-deadline-s", "N", OPTION_SIZE, &o->request_deadline_s, 1, DAY_S,
         "seconds from a request's first byte in which it must have arrived whole"},
        {"drain-delay-s", "N", OPTION_SIZE, &o->drain_delay_s, 0, DAY_S,
         "seconds after SIGTERM in which all goes on but /readyz says 503, so that balancers look "
         "elsewhere; then --drain-s"},
        {"drain-s", "N", OPTION_SIZE, &o->drain_s, 0, DAY_S,
         "seconds to finish accepted requests after SIGTERM"},
        {"cpu-level", "LEVEL", OPTION_TEXT, &o->cpu_level, 0, 0,
         "ref, openblas, avx2, avx512, avx512vnni or avx512bf16 (default: the best this CPU has)"},
        {"precision", "f32|bf16|int8|auto", OPTION_TEXT, &o->precision, 0, 0,
         "what the weights are rounded to; bf16 and int8 need a CPU that multiplies them; auto: "
         "whichever is fastest on this one"},
        {"memory", "auto|low|full", OPTION_TEXT, &o->memory, 0, 0,
         "low: without the weights in the transform domain (95 MB, bf16 57, int8 34), slower where larger "
         "batches are computed there; auto: low where none is, or the memory limit is tight"},
        {"plan", "auto|direct|spectral", OPTION_TEXT, &o->plan, 0, 0,
         "how batches are computed; auto times both at the start, for 0.3 s at most"},
        {"cors-origin", "ORIGIN", OPTION_TEXT, &o->cors_origin, 0, 0,
         "web pages that may call: * or https://a.example,https://b.example (default: none)"},
        {"api-key-file", "FILE", OPTION_TEXT, &o->api_key_file, 0, 0,
         "file of API keys, one a line; reread on SIGHUP (default: no key needed)"},
        {"tls-cert", "FILE", OPTION_TEXT, &o->tls_cert, 0, 0,
         "PEM file of the certificate and its chain: HTTPS; reread on SIGHUP (default: HTTP)"},
        {"tls-key", "FILE", OPTION_TEXT, &o->tls_key, 0, 0,
         "PEM file of the certificate's private key"},
        {"log-format", "text|json", OPTION_TEXT, &o->log_format, 0, 0,
         "how to log"},
        {"log-level", "error|info|debug", OPTION_TEXT, &o->log_level, 0, 0,
         "what to log: what failed; every request; connections too"},
    };
    _Static_assert(sizeof all <= MAX_OPTIONS * sizeof *entries, "MAX_OPTIONS is too small");
    memcpy(entries, all, sizeof all);
    return (struct option_table){
        entries, sizeof all / sizeof *all,
        "usage: capsnetd [options]\n"
        "       capsnetd healthcheck [--url http[s]://HOST:PORT[/PATH]|unix:PATH]\n\n"
        "Serves a capsule network over HTTP.  Each option may also be given as the\n"
        "environment variable beneath it; a flag beats the variable.\n\n",
        "CAPSNETD_"};
}

/* Permissions, without the bits that say more than those. */
static int is_mode(const char *text)
{
    const size_t n = strspn(text, "01234567");
    return !text[n] && (n == 3 || (n == 4 && *text == '0'));
}

mode_t options_listen_mode(const struct options *options)
{
    return (mode_t)strtoul(options->listen_mode, NULL, 8);
}

enum options_status server_options_parse(struct options *options, int argc, char **argv,
                                         char *message, size_t message_nbytes)
{
    struct option_entry entries[MAX_OPTIONS];
    const struct option_table table = table_of(entries, options);
    const enum options_status status =
        options_parse(&table, argc, argv, NULL, 0, message, message_nbytes);
    if (status == OPTIONS_RUN && !is_mode(options->listen_mode)) {
        snprintf(message, message_nbytes,
                 "--listen-mode must be 3 octal digits with or without a 0 before them, as 0660, "
                 "not \"%.100s\"", options->listen_mode);
        return OPTIONS_BAD;
    }
    if (status == OPTIONS_RUN && !options->tls_cert != !options->tls_key) {
        snprintf(message, message_nbytes, "--tls-cert and --tls-key are only good together");
        return OPTIONS_BAD;
    }
    return status;
}

void server_options_print_help(FILE *out)
{
    struct options options;
    struct option_entry entries[MAX_OPTIONS];
    const struct option_table table = table_of(entries, &options);
    options_print_help(out, &table);
    fputs("  --version\n      print the version and exit\n"
          "  --help\n      print this and exit\n",
          out);
}
