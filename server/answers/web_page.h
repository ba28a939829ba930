/*
 * web_page.h - the files that are served as they are, embedded at build; routes.c
 * gives each its path.
 */
#ifndef CAPSNETD_WEB_PAGE_H
#define CAPSNETD_WEB_PAGE_H

struct web_file {
    const char *content_type, *bytes, *end;
};

extern const struct web_file web_index, web_style, web_panels, web_page, web_pad, web_client,
    web_plot, web_samples, web_dom, web_link, web_nudge, web_number, web_pair, web_parts, web_save,
    web_state, web_turn, web_votes, web_openapi;

#endif
