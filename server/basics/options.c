/* options.c - see options.h. */
#include "server/basics/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct option {
    const char *flag;     /* without its two hyphens */
    const char *value;    /* what --help calls it; a|b: one of these texts */
    const char *fallback; /* the default as one would type it; NULL leaves 0 or NULL */
    size_t offset;        /* in struct options */
    size_t min, max;      /* of a number; max 0 marks a text */
    const char *help;
};

#define AT(field) offsetof(struct options, field)
#define DAY_S 86400

static const struct option OPTIONS[] = {
    {"listen", "ADDR:PORT", "127.0.0.1:8080", AT(listen), 0, 0,
     "address to serve on; [ADDR]:PORT for IPv6; port 0 picks a free one"},
    {"weights", "FILE", "weights/capsnet-mnist.safetensors", AT(weights), 0, 0,
     "trained weights, a safetensors file"},
    {"threads", "N", NULL, AT(threads), 1, 1024,
     "threads that compute (default: the CPUs this process may use)"},
    {"max-batch", "N", "64", AT(max_batch), 1, 1024, "most images in one forward pass"},
    {"batch-delay-us", "N", "0", AT(batch_delay_us), 0, 10000000,
     "microseconds that a batch waits for any more images"},
    {"queue", "N", "256", AT(queue), 1, 1000000,
     "images that may wait; when so many do, requests get 503"},
    {"queue-deadline-ms", "N", "10000", AT(queue_deadline_ms), 1, DAY_S * (size_t)1000,
     "milliseconds that an image may wait; later it gets 503 and is not computed"},
    {"max-header-bytes", "N", "16384", AT(max_header_bytes), 256, (size_t)1 << 20,
     "largest request line and headers together, in bytes"},
    {"max-body-bytes", "N", "16777216", AT(max_body_bytes), 1, (size_t)1 << 30,
     "largest request body, in bytes"},
    {"max-images", "N", "64", AT(max_images), 1, 4096, "most images in one request"},
    {"max-side", "N", "4096", AT(max_side), 1, 32768,
     "largest width or height of an image, in pixels"},
    {"max-connections", "N", "512", AT(max_connections), 1, 10000,
     "most open connections; further ones wait to be accepted"},
    {"max-connections-per-ip", "N", "0", AT(max_connections_per_ip), 0, 10000,
     "most open connections of one address; further ones are closed; 0: no limit"},
    {"timeout-s", "N", "30", AT(timeout_s), 1, DAY_S,
     "seconds after which a silent connection is closed"},
    {"request-deadline-s", "N", "30", AT(request_deadline_s), 1, DAY_S,
     "seconds in which a request must have arrived whole"},
    {"drain-s", "N", "25", AT(drain_s), 0, DAY_S,
     "seconds to finish accepted requests after SIGTERM"},
    {"cpu-level", "LEVEL", NULL, AT(cpu_level), 0, 0,
     "ref, avx2, avx512, avx512vnni or avx512bf16 (default: the best this CPU has)"},
    {"precision", "f32|bf16|int8", "f32", AT(precision), 0, 0,
     "what the weights are rounded to; bf16 and int8 need a CPU that multiplies them"},
    {"memory", "auto|low|full", "auto", AT(memory), 0, 0,
     "low: without the weights in the frequency domain (100 MB, bf16 half), slower from a few "
     "images a batch on; auto: low where the memory limit is tight"},
    {"cors-origin", "ORIGIN", NULL, AT(cors_origin), 0, 0,
     "web pages that may call: * or https://a.example,https://b.example (default: none)"},
    {"api-key-file", "FILE", NULL, AT(api_key_file), 0, 0,
     "file of API keys, one a line; reread on SIGHUP (default: no key needed)"},
    {"tls-cert", "FILE", NULL, AT(tls_cert), 0, 0,
     "PEM file of the certificate and its chain: HTTPS; reread on SIGHUP (default: HTTP)"},
    {"tls-key", "FILE", NULL, AT(tls_key), 0, 0, "PEM file of the certificate's private key"},
    {"log-format", "text|json", "text", AT(log_format), 0, 0, "how to log"},
    {"log-level", "error|info|debug", "info", AT(log_level), 0, 0,
     "what to log: what failed; every request; connections too"},
};

enum { N_OPTIONS = sizeof OPTIONS / sizeof *OPTIONS };

static void variable_name(char name[64], const struct option *option)
{
    snprintf(name, 64, "CAPSNETD_%s", option->flag);
    for (char *c = name; *c; c++)
        *c = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
}

/* Is the value one of a|b|c? */
static int is_choice(const char *choices, const char *value)
{
    const size_t n = strlen(value);
    for (const char *choice = choices; choice; choice = strchr(choice, '|')) {
        choice += *choice == '|';
        if (!strchr(value, '|') && strncmp(choice, value, n) == 0 && (choice[n] == '|' || choice[n] == 0))
            return 1;
    }
    return 0;
}

/* Stores a value.  source names where it came from: a flag or a variable. */
static int set(struct options *options, const struct option *option, const char *source,
               const char *value, char *message, size_t message_nbytes)
{
    void *field = (char *)options + option->offset;
    if (option->max == 0) {
        if (*value && strchr(option->value, '|') && !is_choice(option->value, value)) {
            snprintf(message, message_nbytes, "%s must be one of %s, not \"%.64s\"", source,
                     option->value, value);
            return -1;
        }
        if (*value) {
            memcpy(field, &value, sizeof value);
            return 0;
        }
        snprintf(message, message_nbytes, "%s needs a value", source);
        return -1;
    }
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno || number < option->min ||
        number > option->max) {
        snprintf(message, message_nbytes, "%s must be a whole number from %zu to %zu, not \"%.64s\"",
                 source, option->min, option->max, value);
        return -1;
    }
    size_t checked = (size_t)number;
    memcpy(field, &checked, sizeof checked);
    return 0;
}

/* The option that an argument --flag or --flag=value names, or NULL. */
static const struct option *find(const char *argument)
{
    if (strncmp(argument, "--", 2) != 0)
        return NULL;
    const char *flag = argument + 2;
    const size_t n = strcspn(flag, "=");
    for (size_t i = 0; i < N_OPTIONS; i++)
        if (strlen(OPTIONS[i].flag) == n && strncmp(OPTIONS[i].flag, flag, n) == 0)
            return &OPTIONS[i];
    return NULL;
}

static int is_flagged(const struct option *option, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (find(argv[i]) == option)
            return 1;
    return 0;
}

/* What no flag says, and its defaults. */
static int from_environment(struct options *options, int argc, char **argv, char *message,
                            size_t message_nbytes)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *option = &OPTIONS[i];
        char name[64];
        variable_name(name, option);
        const char *value = is_flagged(option, argc, argv) ? NULL : getenv(name);
        int given = value && *value;
        if ((given || option->fallback) && set(options, option, name,
                                               given ? value : option->fallback, message,
                                               message_nbytes) != 0)
            return -1;
    }
    return 0;
}

enum options_status options_parse(struct options *options, int argc, char **argv, char *message,
                                  size_t message_nbytes)
{
    *options = (struct options){0};
    /* Help comes before anything else that could be wrong. */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return OPTIONS_HELP;
        if (strcmp(argv[i], "--version") == 0)
            return OPTIONS_VERSION;
    }
    if (from_environment(options, argc, argv, message, message_nbytes) != 0)
        return OPTIONS_BAD;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        size_t n = strcspn(argument, "=");
        const struct option *option = find(argument);
        if (!option) {
            snprintf(message, message_nbytes, "unknown argument \"%.64s\"; see --help", argument);
            return OPTIONS_BAD;
        }
        const char *value = argument[n] == '=' ? argument + n + 1 : argv[++i];
        char source[64];
        snprintf(source, sizeof source, "--%s", option->flag);
        if (!value) { /* argv ends in NULL */
            snprintf(message, message_nbytes, "%s needs a value", source);
            return OPTIONS_BAD;
        }
        if (set(options, option, source, value, message, message_nbytes) != 0)
            return OPTIONS_BAD;
    }
    if (!options->tls_cert != !options->tls_key) {
        snprintf(message, message_nbytes, "--tls-cert and --tls-key are only good together");
        return OPTIONS_BAD;
    }
    return OPTIONS_RUN;
}

void options_print_help(FILE *out)
{
    fputs("usage: capsnetd [options]\n"
          "       capsnetd healthcheck [--url http[s]://HOST:PORT[/PATH]]\n\n"
          "Serves a capsule network over HTTP.  Each option may also be given as the\n"
          "environment variable beneath it; a flag beats the variable.\n\n",
          out);
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option *option = &OPTIONS[i];
        char name[64];
        variable_name(name, option);
        fprintf(out, "  --%s %s\n      %s\n      %s", option->flag, option->value, option->help,
                name);
        if (option->fallback)
            fprintf(out, ", default %s", option->fallback);
        fputs("\n", out);
    }
    fputs("  --version\n      print the version and exit\n"
          "  --help\n      print this and exit\n",
          out);
}
