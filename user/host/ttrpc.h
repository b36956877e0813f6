/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol of containerd's shims, ttrpc: frames of a 10-byte header (length, stream, type,
 * flags) and a protobuf message (github.com/containerd/ttrpc/blob/main/PROTOCOL.md). Only bytes are
 * made and read here; the connection is shim_request's.
 */
#pragma once

#include "base/buffer.h"

struct ttrpc_call {
	uint32_t stream; /* odd, and greater than the last one of this connection */
	const char *service, *method;
	const char *namespace; /* of containerd, told beside the message; or NULL */
	const char *id; /* the message: StateRequest and its like, whose first field is the id */
};

/* Appends the frame of a call. Returns 0, -ENOBUFS or -ENOMEM. */
int ttrpc_write_call(struct buffer *out, const struct ttrpc_call *call);

/* What has come of an answer. Starts as TTRPC_READER. */
struct ttrpc_reader {
	unsigned char header[10];
	size_t header_length;
	size_t remaining; /* bytes of this frame's message that are still to come */
	struct buffer message; /* its beginning */
};
#define TTRPC_MESSAGE_KEPT_MAX (64 * KIB) /* longer answers are read to their end, and cut */
#define TTRPC_READER ((struct ttrpc_reader){.message = BUFFER(TTRPC_MESSAGE_KEPT_MAX)})

/*
 * Takes bytes until the response to STREAM is whole; frames of other streams are skipped. Returns
 * 1 when it is (the message is in READER), 0 if more has to come, -EBADMSG if this is not the
 * protocol, or -ENOMEM.
 */
int ttrpc_read(struct ttrpc_reader *reader, uint32_t stream, const char *data, size_t length);
void ttrpc_reader_clear(struct ttrpc_reader *reader);

/* codes.Code of gRPC, as far as they matter here. */
enum { TTRPC_OK = 0, TTRPC_NOT_FOUND = 5, TTRPC_UNIMPLEMENTED = 12 };

struct ttrpc_answer {
	uint32_t code;
	char text[128]; /* why, if CODE is not TTRPC_OK; fit for printing */
	uint64_t status; /* StateResponse.status; 0 if it says none */
};

/* Reads the message of a response to State. Returns 0 or -EBADMSG. */
int ttrpc_read_state(const struct ttrpc_reader *reader, struct ttrpc_answer *ret_answer);
