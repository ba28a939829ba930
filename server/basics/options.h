/*
 * options.h - the server's options, on the command line or in the environment:
 * --max-side is CAPSNETD_MAX_SIDE (model/command_line/options.h tells the rules).
 */
#ifndef CAPSNETD_SERVER_OPTIONS_H
#define CAPSNETD_SERVER_OPTIONS_H

#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "model/command_line/options.h"

/* Strings point into argv, the environment or constants: not owned. */
struct options {
    const char *listen;     /* ADDR:PORT or unix:PATH */
    const char *listen_mode; /* of a Unix socket, octal digits: options_listen_mode() */
    struct option_list weights; /* files, and folders of them */
    const char *cpu_level;  /* NULL for the best */
    const char *precision;  /* f32, bf16, int8 or auto */
    const char *memory;     /* auto, low or full */
    const char *plan;       /* auto, direct or spectral */
    const char *cors_origin;  /* "*", or origins with commas; NULL for none */
    const char *api_key_file; /* NULL: open to all */
    const char *tls_cert, *tls_key; /* PEM files, both or neither; NULL: plain HTTP */
    const char *log_format; /* text or json */
    const char *log_level;  /* error, info or debug */
    size_t threads;         /* 0 for as many as the CPUs this process may use */
    size_t max_batch;       /* images */
    size_t batch_delay_us;
    size_t queue;           /* images */
    size_t queue_deadline_ms;
    size_t max_header_bytes;
    size_t max_body_bytes;
    size_t max_images;
    size_t max_side;        /* pixels */
    size_t max_connections;
    size_t max_connections_per_ip; /* 0: no limit */
    size_t timeout_s;
    size_t request_deadline_s;
    size_t drain_delay_s;
    size_t drain_s;
};

/* Fills options from defaults, environment and command line. */
enum options_status server_options_parse(struct options *options, int argc, char **argv,
                                         char *message, size_t message_nbytes);

/* The mode that listen_mode states. */
mode_t options_listen_mode(const struct options *options);

/* Every flag with its default, unit and environment variable. */
void server_options_print_help(FILE *out);

#endif
