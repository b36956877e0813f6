/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every fuzz target starts from. tests/fuzz/LAYER/fuzz_X.c defines LLVMFuzzerTestOneInput, says in its
 * first comment what it claims of any input, and is linked with what a unit test of LAYER is. It begins
 * with the inputs kept in tests/fuzz/corpus/X.
 */
#pragma once

#include "base/json.h"
#include "base/plain.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void claim(bool claim_holds, const char *claim_text)
{
	if (claim_holds)
		return;
	fprintf(stderr, "not so: %s\n", claim_text);
	abort();
}

/* TEXT may be NULL. */
static inline void claim_plain(const char *text)
{
	_cleanup_free_ char *plain = text ? malloc(strlen(text) + 1) : NULL;

	if (!text)
		return;
	claim(plain, "there is memory");
	plain_copy(plain, text, strlen(text));
	claim(streq(plain, text), "text from outside can be printed");
}

/* JSON that is handed on: it can be written, and is the same when it is read. */
static inline void claim_json(const cJSON *json)
{
	_cleanup_json_ cJSON *again = NULL;
	_cleanup_free_ char *text = json ? json_print(json) : NULL;

	claim(text && json_parse(text, strlen(text), &again, NULL) == 0,
	      "JSON that was made can be read");
	claim(json_equal(json, again), "it is the same value");
}

/* What is left of an input; its pieces are taken from the front. */
struct fuzz_input {
	const uint8_t *data;
	size_t size;
};

/* 0 at the end. */
static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
	if (input->size == 0)
		return 0;
	input->size--;
	return *input->data++;
}

/* Fills MEMORY; what the input lacks is 0. */
static inline void fuzz_bytes(struct fuzz_input *input, void *memory, size_t size)
{
	size_t length = MIN(size, input->size);

	memset(memory, 0, size);
	if (length)
		memcpy(memory, input->data, length);
	input->data += length;
	input->size -= length;
}

/*
 * The text up to a line of three dashes, to be freed; its length without the NUL that follows.
 * "" at the end.
 */
static inline char *fuzz_part(struct fuzz_input *input, size_t *ret_length)
{
	static const char separator[] = "---\n";
	size_t length = 0, skip = 0;

	while (length < input->size && !skip) {
		const uint8_t *line = input->data + length;
		const uint8_t *newline = memchr(line, '\n', input->size - length);

		if (input->size - length >= strlen(separator) &&
		    memcmp(line, separator, strlen(separator)) == 0)
			skip = strlen(separator);
		else
			length = newline ? (size_t)(newline - input->data) + 1 : input->size;
	}
	char *text = malloc(length + 1);

	claim(text, "there is memory");
	if (length)
		memcpy(text, input->data, length);
	text[length] = '\0';
	input->data += length + skip;
	input->size -= length + skip;
	if (ret_length)
		*ret_length = length;
	return text;
}
