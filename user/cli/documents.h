/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that a person writes: YAML or JSON, one or several documents, each an Abnormal or a List of
 * them.
 */
#pragma once

#include "base/json.h"

/*
 * Reads FILE ("-": standard input) into a list of Abnormals, as they were written. PROBLEM tells
 * file, document and line. Returns 0 or a negative errno.
 */
int documents_read(const char *file, cJSON **ret_documents, struct problem *problem);

/*
 * Checks one as the agent would. PROBLEM names file, document and field. Returns 0 or a negative
 * errno.
 */
int document_check(const char *file, const cJSON *document, int number, struct problem *problem);
