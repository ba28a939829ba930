/* healthcheck_command.h - capsnetd healthcheck: is the server ready?  For containers
 * without curl. */
#ifndef CAPSNETD_HEALTHCHECK_COMMAND_H
#define CAPSNETD_HEALTHCHECK_COMMAND_H

/* Asks GET /readyz of the address in CAPSNETD_LISTEN (or its default), or of
 * another with --url http[s]://HOST:PORT[/PATH].  argv: [argc] what follows the
 * word healthcheck.
 *
 * Returns the exit status: 0 for an answer of 200 within five seconds, else 1
 * after one sentence on stderr. */
int healthcheck(int argc, char **argv);

#endif
