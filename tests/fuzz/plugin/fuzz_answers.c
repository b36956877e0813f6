/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of a plug-in's answer, as its supervisor hands it over. The first byte tells how it
 * ended ('0' to '9': that exit status; 's': by signal 9; others: whatever that means); then come,
 * with lines of three dashes between them, the answer, what it said on standard error, and the list of its
 * artifacts. The verdict fits what happened, what an answer may not change is as it was after it has
 * been merged, and the Abnormal can be stored and read again.
 */
#include "../fuzz.h"

#include "plugin/call_result.h"

static const char sent_text[] =
	"{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
	"\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},"
	"\"spec\":{\"source\":\"Custom\",\"context\":{\"a\":1}},"
	"\"status\":{\"phase\":\"Diagnosing\",\"context\":{\"other\":{\"b\":2}}}}";

static struct abnormal *parse(const char *text)
{
	struct abnormal *abnormal = NULL;

	claim(abnormal_parse_handled(text, strlen(text), &abnormal, NULL) == 0,
	      "what is sent is an Abnormal");
	return abnormal;
}

/* Everything but what a plug-in may change. */
static void claim_unchanged(const struct abnormal *abnormal)
{
	static const char *const may_change[] = {"message", "reason",	    "output",
						 "context", "identifiable", "recoverable"};
	_cleanup_abnormal_ struct abnormal *sent = parse(sent_text);
	_cleanup_json_ cJSON *before = NULL, *after = NULL;

	claim(abnormal_encode(sent, &before) == 0 && abnormal_encode(abnormal, &after) == 0,
	      "an Abnormal can be written");
	for (size_t i = 0; i < ARRAY_SIZE(may_change); i++) {
		cJSON_DeleteItemFromObjectCaseSensitive(json_at(before, "status"), may_change[i]);
		cJSON_DeleteItemFromObjectCaseSensitive(json_at(after, "status"), may_change[i]);
	}
	claim(json_equal(before, after), "the answer changes only what it may");
	claim(json_at(abnormal->status.context, "other"), "nor takes away what others found");
}

static void check_merge(const struct abnormal *sent, const struct abnormal *answer)
{
	_cleanup_abnormal_ struct abnormal *merged = abnormal_copy(sent), *again = NULL;
	_cleanup_free_ char *text = NULL, *text_again = NULL;

	claim(answer_check(sent, answer, NULL) == 0, "an answer that is taken was checked");
	claim(merged, "there is memory");
	int r = answer_merge(merged, answer);
	claim(r == 0 || r == -EFBIG, "it is merged, or too large");
	claim_unchanged(merged);
	claim(abnormal_print(merged, &text) == 0 && strlen(text) <= ABNORMAL_HANDLED_BYTES_MAX,
	      "what is merged is no larger than allowed");
	claim(abnormal_parse_handled(text, strlen(text), &again, NULL) == 0 &&
		      abnormal_print(again, &text_again) == 0 && streq(text, text_again),
	      "it reads as it was written");
}

static void check_result(const struct call_result *result, const struct call_reply *reply,
			 const struct abnormal *sent)
{
	bool done = reply->ending == ENDING_EXITED && reply->code == 0;

	claim((result->verdict == CALL_ERROR) == (result->error != NULL),
	      "an error is told, and nothing else is");
	claim(result->verdict != CALL_RECOGNISED || done, "only exit status 0 recognises");
	claim(result->verdict != CALL_NOT_MINE ||
		      (reply->ending == ENDING_EXITED && reply->code == 2),
	      "only exit status 2 declines");
	claim(!result->explanation || result->verdict == CALL_NOT_MINE, "who declines may explain");
	claim(!result->answer || done, "who fails has no answer");
	for (const char *c = result->error; c && *c; c++)
		claim((unsigned char)*c >= ' ' && *c != 0x7f, "an error is one line");
	for (const char *c = result->explanation; c && *c; c++)
		claim((unsigned char)*c >= ' ' && *c != 0x7f, "an explanation is one line");
	if (result->answer)
		check_merge(sent, result->answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	uint8_t how = fuzz_byte(&input);
	size_t output_bytes, error_bytes, artifacts_bytes;
	_cleanup_free_ char *output = fuzz_part(&input, &output_bytes),
			    *error = fuzz_part(&input, &error_bytes),
			    *artifacts = fuzz_part(&input, &artifacts_bytes);
	struct call_reply reply = {
		.ending = how >= '0' && how <= '9' ? ENDING_EXITED
			  : how == 's'		   ? ENDING_SIGNALLED
						   : how % 8,
		.code = how >= '0' && how <= '9' ? how - '0' : 9,
		.stuck = how >> 7,
		.artifacts_removed = how >> 6 & 1,
		.output_bytes = (uint32_t)output_bytes,
		.error_bytes = (uint32_t)error_bytes,
		.artifacts_bytes = (uint32_t)artifacts_bytes,
	};
	const struct call_reply_view view = {&reply, output, error, artifacts};
	const struct plugin_entry entry = {
		.name = (char *)"mine", .kind = PLUGIN_DIAGNOSER, .timeout_ns = 5 * NS_PER_S};
	_cleanup_abnormal_ struct abnormal *sent = parse(sent_text);
	_cleanup_(call_result_clear) struct call_result result = {0};
	int r = call_result_read(&result, &view, &entry, sent);

	claim(r == 0 || r == -EINVAL, "a reply is read, or its artifacts are no list");
	if (r == 0)
		check_result(&result, &reply, sent);
	return 0;
}
