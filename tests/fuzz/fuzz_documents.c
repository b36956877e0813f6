/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of the parsers of documents: JSON, YAML and Abnormals. Besides not to crash, what is
 * read must be written as something that reads back the same. It is built by clang with
 * -fsanitize=fuzzer,address,undefined together with the sources of user/base and user/core.
 */
#include "base/yaml.h"
#include "core/abnormal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void claim(bool claim_holds, const char *claim_text)
{
	if (claim_holds)
		return;
	fprintf(stderr, "not so: %s\n", claim_text);
	abort();
}

static void fuzz_yaml(const char *text, size_t size)
{
	_cleanup_json_ cJSON *documents = NULL;
	struct problem problem;
	const cJSON *document;

	if (yaml_read(text, size, 1 * MIB, &documents, &problem) < 0)
		return;
	cJSON_ArrayForEach (document, documents) {
		_cleanup_free_ char *written = yaml_write(document);
		_cleanup_json_ cJSON *again = NULL;

		claim(written &&
			      yaml_read(written, strlen(written), 16 * MIB, &again, &problem) == 0,
		      "YAML that was written can be read");
		claim(json_equal(cJSON_GetArrayItem(again, 0), document), "it is the same value");
	}
}

static void fuzz_json(const char *text, size_t size)
{
	_cleanup_json_ cJSON *json = NULL, *again = NULL;
	struct problem problem;

	if (json_parse(text, size, &json, &problem) < 0)
		return;
	_cleanup_free_ char *written = json_print(json);
	claim(written && json_parse(written, strlen(written), &again, &problem) == 0,
	      "JSON that was written can be read");
	claim(json_equal(json, again), "it is the same value");
}

static void fuzz_abnormal(const char *text, size_t size)
{
	_cleanup_abnormal_ struct abnormal *abnormal = NULL, *copy = NULL, *again = NULL;
	_cleanup_free_ char *written = NULL, *rewritten = NULL;
	struct problem problem;

	if (abnormal_parse(text, size, &abnormal, &problem) < 0)
		return;
	copy = abnormal_copy(abnormal);
	claim(copy && abnormal_print(copy, &written) == 0, "an Abnormal can be copied and written");
	claim(abnormal_parse(written, strlen(written), &again, &problem) == 0,
	      "it can be read again");
	claim(abnormal_print(again, &rewritten) == 0 && streq(written, rewritten),
	      "it is the same");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_yaml((const char *)data, size);
	fuzz_json((const char *)data, size);
	fuzz_abnormal((const char *)data, size);
	return 0;
}
