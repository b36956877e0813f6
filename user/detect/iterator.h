/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a BPF iterator writes, record by record. */
#pragma once

#include <bpf/libbpf.h>
#include <sys/types.h>

/*
 * Reads LINK's iterator from its beginning to its end, with SIZE bytes at BUFFER, which must hold the
 * longest record. TAKE gets what has been read and not yet taken: it returns how many bytes its
 * first record has, 0 if that is not there in whole yet, or a negative errno, which ends the
 * reading. Returns 0, -EBADMSG if the end came within a record, TAKE's error or another negative
 * errno.
 */
int iterator_read(const struct bpf_link *link, char *buffer, size_t size,
		  ssize_t (*take)(void *userdata, const char *data, size_t length), void *userdata);
