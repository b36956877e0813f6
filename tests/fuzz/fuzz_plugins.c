/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of what else comes from outside: the configuration, headers of scripts, answers of
 * plug-ins, paths of control groups, and lists from the store. The first byte chooses. It is built
 * like fuzz_documents, together with all that the agent's tests are linked with.
 */
#include "agent/config.h"
#include "api/lines.h"
#include "plugin/call.h"
#include "plugin/script_header.h"
#include "host/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void claim(bool claim_holds, const char *claim_text)
{
	if (claim_holds)
		return;
	fprintf(stderr, "not so: %s\n", claim_text);
	abort();
}

static void fuzz_configuration(const char *text, size_t size)
{
	_cleanup_(config_freep) struct config *config = NULL;
	struct problem problem = {0};

	if (config_parse(text, size, &config, &problem) < 0)
		claim(problem.text[0], "a refused configuration is told of");
}

static void fuzz_header(const char *text, size_t size)
{
	static const enum plugin_kind kinds[] = {PLUGIN_COLLECTOR, PLUGIN_DIAGNOSER,
						 PLUGIN_RECOVERER};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_(script_header_freep) struct script_header *header = NULL;
		struct problem problem = {0};

		if (script_header_parse(kinds[i], text, size, &header, &problem) == -EINVAL)
			claim(problem.text[0], "a refused header is told of");
	}
}

/* What a plug-in may not change is the same after its answer, and what it may can be read again. */
static void fuzz_answer(const char *text, size_t size)
{
	static const char sent_text[] =
		"{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
		"\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},"
		"\"spec\":{\"source\":\"Custom\",\"context\":{\"a\":1}},"
		"\"status\":{\"phase\":\"Diagnosing\",\"context\":{\"mine\":{\"b\":2}}}}";
	_cleanup_abnormal_ struct abnormal *sent = NULL, *answer = NULL, *again = NULL;
	_cleanup_free_ char *written = NULL;
	struct problem problem = {0};

	claim(abnormal_parse(sent_text, strlen(sent_text), &sent, &problem) == 0,
	      "what is sent is an Abnormal");
	if (abnormal_parse(text, size, &answer, &problem) < 0 ||
	    answer_check(sent, answer, &problem) < 0 || answer_merge(sent, answer) < 0)
		return;
	claim(streq(sent->metadata.name, "a") && json_number(sent->spec.context, "a", 0) == 1,
	      "the answer has not changed what it may not");
	claim(json_at(sent->status.context, "mine"), "nor taken away what others found");
	claim(abnormal_print(sent, &written) == 0 &&
		      abnormal_parse(written, strlen(written), &again, &problem) == 0,
	      "what has been merged can be written and read");
}

static void fuzz_group(const char *text, size_t size)
{
	_cleanup_free_ char *path = strndup(text, size);
	struct container container;

	if (path && container_from_cgroup(path, &container))
		claim(strlen(container.id) < sizeof(container.id) &&
			      strlen(container.pod_uid) < sizeof(container.pod_uid) &&
			      !strchr(container.id, '/'),
		      "an identity is a plain word");
}

static void fuzz_lines(const char *text, size_t size)
{
	_cleanup_buffer_ struct buffer lines = BUFFER(MIB);

	lines_from_list(text, size, &lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const char *, size_t) = {
		fuzz_configuration, fuzz_header, fuzz_answer, fuzz_group, fuzz_lines};

	if (size)
		targets[data[0] % ARRAY_SIZE(targets)]((const char *)data + 1, size - 1);
	return 0;
}
