/*
 * cannot_run.h - the one way to leave a test out: the machine, not a missing package,
 * is why.  tests/run.sh collects the reasons into its closing line, and fails on any
 * other skip.
 */
#ifndef CAPSNET_TESTS_CANNOT_RUN_H
#define CAPSNET_TESTS_CANNOT_RUN_H

/* reason follows "since ", e.g. "this CPU lacks avx2".  Does not return. */
#define CANNOT_RUN(...)                  \
    do {                                 \
        print_message("cannot run here, since " __VA_ARGS__); \
        print_message("\n");             \
        skip();                          \
    } while (0)

#endif
