/* systemd_notify.h - telling systemd how the service is (sd_notify's protocol). */
#ifndef CAPSNETD_SYSTEMD_NOTIFY_H
#define CAPSNETD_SYSTEMD_NOTIFY_H

/* Sends a state such as "READY=1" to the socket that NOTIFY_SOCKET names: a
 * path, or @name in the abstract namespace.  Does nothing without the
 * variable; a message that cannot be sent is dropped. */
void notify_send(const char *state);

#endif
