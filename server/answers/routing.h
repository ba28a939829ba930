/*
 * routing.h - how the capsules came to agree, of a request whose job was asked for its
 * rounds (request_ask_rounds): as JSON, and as a sheet to look at.
 */
#ifndef CAPSNETD_ROUTING_H
#define CAPSNETD_ROUTING_H

#include "server/request/request.h"

/* Appends {"grid": ..., "rounds": [...]} of image i. */
void routing_add_json(struct text *text, const struct request *request, size_t i);

/* The sheets of all images, one below the other, must not have too many pixels: 0, or the
 * status of the refusal. */
unsigned routing_check_sheets(struct request *request);

/* Answers with them.  Rounds are rows, the winner and the runner-up are columns; each
 * picture is the digit as the network saw it, in it the votes of its places. */
unsigned routing_answer_sheets(struct request *request);

#endif
