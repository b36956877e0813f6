/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What agent and supervisor say to each other over their socket: one request, one reply. Both ends
 * are the same program (the supervisor is executed from the agent's own image), so structs go as
 * they are.
 */
#pragma once

#include "base/buffer.h"
#include "base/schema.h"

#define CALL_OUTPUT_BYTES_MAX (2 * MIB) /* of an answer: a whole Abnormal, handled so far */
#define CALL_STDERR_BYTES_KEPT (4 * KIB) /* the end of what it said on standard error */
#define CALL_STDERR_BYTES_MAX (16 * MIB) /* a plug-in that says more is ended */
#define CALL_REQUEST_HEAD_BYTES_MAX (1 * MIB)
#define CALL_ARTIFACTS_TEXT_BYTES_MAX (256 * KIB)

struct call_request {
	char *plugin;
	int64_t kind, transport, step; /* of the enums in plugin.h and registry.h */
	char *path; /* of a script */
	char *artifact_directory, *host_root, *api_socket;
	int64_t timeout_ns, memory_bytes;
	cJSON *settings;
};

/* Appends request and Abnormal, framed, to OUT. Returns 0, -ENOBUFS or -ENOMEM. */
int call_request_write(const struct call_request *request, const char *abnormal_text,
		       struct buffer *out);

/*
 * Reads one (blocking) from FD. Returns 0, -EPIPE if the other end went away, -EPROTO, or another
 * errno.
 */
int call_request_read(int fd, struct call_request **ret_request, char **ret_abnormal_text,
		      size_t *ret_abnormal_length);
void call_request_free(struct call_request *request);
DEFINE_CLEANUP(struct call_request, call_request_free);

enum call_ending {
	ENDING_EXITED, /* code: exit status */
	ENDING_SIGNALLED, /* code: signal */
	ENDING_DEADLINE, /* killed: out of time */
	ENDING_OUTPUT_OVER, /* killed: answer over its cap */
	ENDING_STDERR_OVER, /* killed: standard error over its cap */
	ENDING_NOT_STARTED, /* code: errno; the error text says what could not be done */
};

struct call_reply {
	uint32_t ending; /* enum call_ending */
	int32_t code;
	uint32_t left_behind; /* processes that it left, killed */
	uint32_t stuck; /* processes that SIGKILL has not ended */
	uint32_t output_bytes, error_bytes, artifacts_bytes; /* of what follows, in this order */
	uint32_t artifacts_removed;
	int32_t artifacts_error; /* errno that kept artifacts from being kept or listed, or 0 */
};
