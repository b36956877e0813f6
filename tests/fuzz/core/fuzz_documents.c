/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of the parsers of documents: JSON, YAML and Abnormals. Besides not to crash, what is
 * read must be written as something that reads back the same.
 */
#include "../fuzz.h"

#include "base/yaml.h"
#include "core/abnormal.h"

static void fuzz_yaml(const char *text, size_t size)
{
	_cleanup_json_ cJSON *documents = NULL;
	struct problem problem = {0};
	const cJSON *document;

	if (yaml_read(text, size, 1 * MIB, &documents, &problem) < 0) {
		claim(problem.text[0], "what is wrong with YAML is told");
		return;
	}
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
	_cleanup_json_ cJSON *json = NULL;
	struct problem problem = {0};

	if (json_parse(text, size, &json, &problem) < 0)
		claim(problem.text[0], "what is wrong with JSON is told");
	else
		claim_json(json);
}

static void fuzz_abnormal(const char *text, size_t size)
{
	_cleanup_abnormal_ struct abnormal *abnormal = NULL, *copy = NULL, *again = NULL;
	_cleanup_free_ char *written = NULL, *rewritten = NULL;
	struct problem problem = {0};

	if (abnormal_parse(text, size, &abnormal, &problem) < 0) {
		claim(problem.text[0], "what is wrong with an Abnormal is told");
		return;
	}
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
