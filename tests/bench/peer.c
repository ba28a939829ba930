/*
 * peer.c - see peer.h.
 */
#include "tests/bench/peer.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

struct peer {
    const struct capsnet_model *model;
    char name[64], folder[64], images[96], answers[96];
    FILE *to, *from;
    pid_t child;
};

/* Starts the command with our end of two pipes. */
static void start(struct peer *p, const char *command, const char *weights, size_t threads)
{
    int to[2], from[2];
    char count[16], *argv[] = {"sh", "-c", NULL, "sh", (char *)weights, p->images, p->answers,
                               count, NULL};
    char line[512];
    snprintf(line, sizeof line, "exec %s \"$@\"", command);
    snprintf(count, sizeof count, "%zu", threads);
    argv[2] = line;
    fflush(stdout);
    /* No later peer may hold these open: closing is how one is told to end. */
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0 || (p->child = fork()) < 0)
        bench_die("cannot start another program");
    if (p->child == 0) {
        if (dup2(to[0], 0) == 0 && dup2(from[1], 1) == 1)
            execv("/bin/sh", argv);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    p->to = fdopen(to[1], "w");
    p->from = fdopen(from[0], "r");
    if (!p->to || !p->from)
        bench_die("cannot talk to another program");
}

static void read_line(struct peer *p, char line[128])
{
    if (!fgets(line, 128, p->from)) {
        fprintf(stderr, "%s: ", p->name);
        bench_die("it ended before it answered");
    }
    line[strcspn(line, "\n")] = '\0';
}

static void ask(struct peer *p, const char *word, size_t n, char line[128])
{
    fprintf(p->to, "%s %zu\n", word, n);
    fflush(p->to);
    read_line(p, line);
}

struct peer *peer_open(const char *command, const char *weights,
                       const struct capsnet_model *model, const float *images, size_t threads)
{
    struct peer *p = calloc(1, sizeof *p);
    char line[128];
    if (!p)
        bench_die("not enough memory");
    signal(SIGPIPE, SIG_IGN); /* a peer that died is told by its silence */
    p->model = model;
    snprintf(p->name, sizeof p->name, "%.60s", command);
    snprintf(p->folder, sizeof p->folder, "/tmp/capsnet-peer-XXXXXX");
    if (!mkdtemp(p->folder))
        bench_die("cannot make a folder in /tmp");
    snprintf(p->images, sizeof p->images, "%s/images", p->folder);
    snprintf(p->answers, sizeof p->answers, "%s/answers", p->folder);
    FILE *file = fopen(p->images, "wb");
    const size_t floats = BENCH_BATCH * model->at.pixels;
    if (!file || fwrite(images, sizeof *images, floats, file) != floats || fclose(file) != 0)
        bench_die("cannot write to /tmp");
    start(p, command, weights, threads);
    read_line(p, line);
    if (strncmp(line, "ready ", 6) == 0) {
        snprintf(p->name, sizeof p->name, "%.60s", line + 6);
        return p;
    }
    printf("%s\n", strncmp(line, "skipped ", 8) == 0 ? line : "a peer: SKIPPED: it did not start");
    peer_close(p);
    return NULL;
}

void peer_close(struct peer *p)
{
    fclose(p->to);
    fclose(p->from);
    waitpid(p->child, NULL, 0);
    unlink(p->images);
    unlink(p->answers);
    rmdir(p->folder);
    free(p);
}

const char *peer_name(const struct peer *p)
{
    return p->name;
}

double peer_turn(struct peer *p, size_t n)
{
    char line[128];
    ask(p, "time", n, line);
    const double seconds = strtod(line, NULL);
    if (!(seconds > 0))
        bench_die("another program gave no time");
    usleep(20000); /* its idle threads spin for a moment */
    return seconds;
}

void peer_answers(struct peer *p, size_t n, float *lengths, float *poses, float *pictures)
{
    const size_t n_lengths = n * p->model->shape.classes, n_poses = n * p->model->at.outputs;
    const size_t n_pixels = n * p->model->at.pixels;
    char line[128];
    ask(p, "answers", n, line);
    FILE *file = fopen(p->answers, "rb");
    if (!file || fread(lengths, sizeof *lengths, n_lengths, file) != n_lengths ||
        fread(poses, sizeof *poses, n_poses, file) != n_poses ||
        fread(pictures, sizeof *pictures, n_pixels, file) != n_pixels || fgetc(file) != EOF)
        bench_die("another program's answers are no answers");
    fclose(file);
}
