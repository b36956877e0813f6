/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Abnormal's codec and validation: nothing is lost on the way, and each error names its field.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/abnormal.h"

/*
 * Every field there is, each with a value that is not its absence, and an unknown member at each
 * level.
 */
static const char full[] =
	"{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{"
	"\"name\":\"hung-task-0123abcd-t3x1\",\"namespace\":\"default\",\"uid\":\"7c8d\","
	"\"resourceVersion\":\"12\","
	"\"creationTimestamp\":\"2026-11-23T17:45:00Z\",\"labels\":{\"lifeboat.dev/"
	"fingerprint\":\"0123abcd0123abcd\","
	"\"empty\":\"\"},\"annotations\":{\"lifeboat.dev/subject\":\"any text, at all\"},"
	"\"generation\":3,\"ownerReferences\":[{\"a\":null}]},\"spec\":{\"source\":\"KernelEvent\","
	"\"kernelEvent\":{"
	"\"detector\":\"hung_task\",\"type\":\"HungTask\",\"time\":\"2026-11-23T17:45:01."
	"123456789Z\",\"cpu\":0,"
	"\"process\":{\"pid\":42,\"tgid\":41,\"startTime\":123456,\"comm\":\"cat\",\"exe\":\"/bin/"
	"cat\",\"uid\":0,"
	"\"parent\":{\"pid\":1,\"tgid\":1,\"startTime\":0,\"comm\":\"init\",\"uid\":1000,\"x\":"
	"true},\"x\":[1,2]},"
	"\"container\":{\"runtime\":\"containerd\",\"id\":\"abc\",\"pod\":\"web\",\"namespace\":"
	"\"shop\","
	"\"name\":\"nginx\",\"cgroupPath\":\"/kubepods/x\",\"cgroupId\":9007199254740991,\"x\":{}},"
	"\"stack\":{\"kernel\":[\"schedule+0x5a\",\"io_schedule+0x46\"],\"user\":[\"read+0x1\"],"
	"\"x\":1},"
	"\"details\":{\"kind\":\"io\",\"waiters\":[],\"ratio\":0.25},\"count\":2,\"lost\":0,\"x\":"
	"\"y\"},"
	"\"log\":{\"filePath\":\"/var/log/kern.log\",\"logEntry\":\"BUG: soft lockup\",\"x\":1},"
	"\"kubernetesEvent\":{\"metadata\":{\"name\":\"e\"},\"count\":3},"
	"\"prometheusAlert\":{\"labels\":{\"alertname\":\"Down\"},\"annotations\":{},"
	"\"startsAt\":\"2026-11-23T17:45:00Z\",\"endsAt\":\"2026-11-23T17:46:00.5Z\","
	"\"generatorURL\":\"http://p/\","
	"\"x\":1},"
	"\"nodeProbe\":{\"name\":\"disk\",\"timeoutSeconds\":5,\"exec\":{\"command\":[\"df\",\"-"
	"h\"],\"x\":1},\"x\":1},"
	"\"podProbe\":{\"namespace\":\"shop\",\"name\":\"web-0\",\"container\":\"nginx\","
	"\"timeoutSeconds\":1,"
	"\"httpGet\":{\"path\":\"/"
	"healthz\",\"port\":8080,\"host\":\"10.0.0.1\",\"scheme\":\"HTTPS\","
	"\"httpHeaders\":[{\"name\":\"X-A\",\"value\":\"b\",\"x\":1}],\"x\":1},\"x\":1},"
	"\"skipDiagnosis\":true,\"skipRecovery\":true,\"nodeName\":\"node 1\","
	"\"assignedInformationCollectors\":[{\"namespace\":\"a\",\"name\":\"b\",\"x\":1},{\"name\":"
	"\"c\"}],"
	"\"assignedDiagnosers\":[{\"name\":\"d\"}],\"assignedRecoverers\":[{\"name\":\"10-restart."
	"sh\"}],"
	"\"context\":{\"deep\":{\"a\":[null,true,1.5,\"\\u00e9\"]}},\"x\":1},\"status\":{"
	"\"identifiable\":true,"
	"\"recoverable\":true,\"phase\":\"Recovering\",\"conditions\":[{\"type\":\"Identified\","
	"\"status\":\"False\","
	"\"lastTransitionTime\":\"2026-11-23T17:45:02Z\",\"reason\":\"NotIdentified\",\"message\":"
	"\"m\",\"x\":1},"
	"{\"type\":\"Recovered\",\"status\":\"Unknown\"}],\"message\":\"m\",\"reason\":"
	"\"FilesystemFrozen\","
	"\"output\":\"o\",\"startTime\":\"2026-11-23T17:45:01Z\",\"diagnoser\":{\"name\":\"hung-"
	"task\"},"
	"\"recoverer\":{\"namespace\":\"n\",\"name\":\"thaw\"},\"context\":{\"k\":1,\"deep\":{\"a\":[true]}},"
	"\"occurrences\":{\"count\":1,\"firstTime\":\"2026-11-23T17:45:01Z\",\"lastTime\":\"2026-"
	"11-23T17:45:03Z\","
	"\"x\":1},\"information\":[{\"collector\":\"pressure\",\"state\":\"Collected\",\"reason\":"
	"\"r\","
	"\"startTime\":\"2026-11-23T17:45:01Z\",\"duration\":\"1m30.25s\",\"artifacts\":[{\"name\":"
	"\"a\","
	"\"path\":\"/"
	"p\",\"bytes\":0,\"x\":1}],\"x\":1}],\"actions\":[{\"recoverer\":\"thaw\",\"target\":\"/"
	"mnt\","
	"\"intentTime\":\"2026-11-23T17:45:01Z\",\"finishTime\":\"2026-11-23T17:45:02Z\","
	"\"outcome\":\"DryRun\","
	"\"verification\":\"NotVerified\",\"message\":\"m\",\"x\":1}],\"x\":1},\"x\":{\"y\":[]}}";

static struct abnormal *parse(const char *text)
{
	struct problem problem = {0};
	struct abnormal *abnormal = NULL;
	char line[1024];

	if (abnormal_parse(text, strlen(text), &abnormal, &problem) < 0)
		fail_msg("%s", problem_line(&problem, line, sizeof(line)));
	return abnormal;
}

static cJSON *parse_json(const char *text)
{
	cJSON *json = NULL;

	assert_int_equal(json_parse(text, strlen(text), &json, NULL), 0);
	return json;
}

static void every_field_and_unknown_member_survives_a_round_trip(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = parse(full);
	_cleanup_json_ cJSON *expected = parse_json(full), *encoded = NULL;
	_cleanup_free_ char *text = NULL;

	assert_int_equal(abnormal_print(abnormal, &text), 0);
	/*
	 * The same members in the same order, but for what is unknown, which comes last: as written
	 * above.
	 */
	_cleanup_free_ char *expected_text = json_print(expected);
	assert_string_equal(text, expected_text);
	assert_int_equal(abnormal_encode(abnormal, &encoded), 0);
	assert_true(json_equal(encoded, expected));
}

static void a_copy_is_equal_and_independent(void **state)
{
	struct abnormal *abnormal = parse(full);
	_cleanup_abnormal_ struct abnormal *copy = abnormal_copy(abnormal);
	_cleanup_free_ char *a = NULL, *b = NULL;

	assert_int_equal(abnormal_print(abnormal, &a), 0);
	abnormal_free(abnormal);
	assert_int_equal(abnormal_print(copy, &b), 0);
	assert_string_equal(a, b);
}

static void typed_fields_hold_what_the_json_says(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = parse(full);
	const struct kernel_event *event = abnormal->spec.kernel_event;

	assert_int_equal(abnormal->spec.source, SOURCE_KERNEL_EVENT);
	assert_int_equal(event->process->uid, 0);
	assert_int_equal(event->process->parent->pid, 1);
	assert_int_equal(event->container->cgroup_id, 9007199254740991);
	assert_int_equal(event->time % 1000000000, 123456789);
	assert_int_equal(event->stack->kernel.count, 2);
	assert_int_equal(abnormal->status.phase, PHASE_RECOVERING);
	assert_int_equal(abnormal->spec.assigned_information_collectors.count, 2);
	assert_int_equal(((struct information *)abnormal->status.information.items)->duration,
			 90250000000);
	assert_string_equal(abnormal_label(abnormal, LABEL_FINGERPRINT), "0123abcd0123abcd");
	assert_string_equal(abnormal_annotation(abnormal, ANNOTATION_SUBJECT), "any text, at all");
}

#define HEAD "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
#define CUSTOM HEAD "\"spec\":{\"source\":\"Custom\"}"

static void the_least_abnormal_stays_the_least(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = parse(CUSTOM "}");
	_cleanup_free_ char *text = NULL;

	assert_int_equal(abnormal_print(abnormal, &text), 0);
	assert_string_equal(text, CUSTOM "}");
	assert_null(abnormal_condition(abnormal, CONDITION_RECOVERED));
	assert_null(abnormal_label(abnormal, "x"));
}

static void null_and_go_zero_time_count_as_absent(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = parse(
		CUSTOM ",\"metadata\":{\"name\":\"a\",\"creationTimestamp\":null,\"labels\":null},"
		       "\"status\":{\"startTime\":\"0001-01-01T00:00:00Z\",\"phase\":\"\"}}");
	_cleanup_free_ char *text = NULL;

	assert_int_equal(abnormal->metadata.creation_timestamp, TIME_ABSENT);
	assert_int_equal(abnormal_print(abnormal, &text), 0);
	assert_string_equal(text,
			    HEAD "\"metadata\":{\"name\":\"a\"},\"spec\":{\"source\":\"Custom\"}}");
}

static void a_process_of_unknown_owner_is_not_said_to_be_of_root(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal =
		parse(HEAD "\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":"
			   "\"d\",\"type\":\"t\","
			   "\"process\":{\"comm\":\"x\"}}}}");
	_cleanup_free_ char *text = NULL;

	assert_int_equal(abnormal->spec.kernel_event->process->uid, -1);
	assert_int_equal(abnormal->spec.kernel_event->cpu, -1);
	assert_int_equal(abnormal_print(abnormal, &text), 0);
	assert_null(strstr(text, "uid"));
	assert_null(strstr(text, "cpu"));
	/* Lost events are never hidden, not even when there are none. */
	assert_non_null(strstr(text, "\"lost\":0"));
}

#define KERNEL(members) HEAD "\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{" members "}}}"
#define PROBE(members) \
	HEAD "\"spec\":{\"source\":\"Probe\",\"nodeProbe\":{\"name\":\"p\"," members "}}}"
#define X63 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
	const char *text, *field, *message; /* MESSAGE: a part of the problem's text */
} refused[] = {
	{"[]", "", "must be an object, not a list"},
	{"{}", "apiVersion", "is required"},
	{"{\"apiVersion\":\"v1\",\"kind\":\"Abnormal\",\"spec\":{\"source\":\"Custom\"}}",
	 "apiVersion", "must be \"lifeboat.dev/v1alpha1\", not \"v1\""},
	{"{\"apiVersion\":\"lifeboat.dev/"
	 "v1alpha1\",\"kind\":\"Pod\",\"spec\":{\"source\":\"Custom\"}}",
	 "kind", "must be \"Abnormal\""},
	{"{\"apiVersion\":1}", "apiVersion", "must be a string, not a number"},
	{HEAD "\"metadata\":{}}", "spec", "is required"},
	{HEAD "\"spec\":null}", "spec", "is required"},
	{HEAD "\"spec\":{}}", "spec.source", "is required"},
	{HEAD "\"spec\":{\"source\":\"\"}}", "spec.source", "is required"},
	{HEAD "\"spec\":{\"source\":\"kernelevent\"}}", "spec.source",
	 "must be one of KernelEvent, Log, KubernetesEvent, PrometheusAlert, Probe, Custom"},
	{HEAD "\"spec\":{\"source\":\"KernelEvent\"}}", "spec.kernelEvent",
	 "is required when source is KernelEvent"},
	{HEAD "\"spec\":{\"source\":\"Log\"}}", "spec.log", "is required when source is Log"},
	{HEAD "\"spec\":{\"source\":\"KubernetesEvent\"}}", "spec.kubernetesEvent", "is required"},
	{HEAD "\"spec\":{\"source\":\"PrometheusAlert\"}}", "spec.prometheusAlert", "is required"},
	{HEAD "\"spec\":{\"source\":\"Probe\"}}", "spec", "exactly one of nodeProbe and podProbe"},
	{HEAD "\"spec\":{\"source\":\"Log\",\"log\":{\"filePath\":\"/x\"}}}", "spec.log.logEntry",
	 "is required"},
	{HEAD "\"spec\":{\"source\":\"Log\",\"log\":{\"filePath\":\"x\",\"logEntry\":\"y\"}}}",
	 "spec.log.filePath", "must be an absolute path"},
	{HEAD "\"spec\":{\"source\":\"Log\",\"log\":{\"filePath\":\"/x\",\"logEntry\":\"\"}}}",
	 "spec.log.logEntry", "must not be empty"},
	{HEAD
	 "\"spec\":{\"source\":\"PrometheusAlert\",\"prometheusAlert\":{\"labels\":{\"a\":1}}}}",
	 "spec.prometheusAlert.labels.a", "must be a string, not a number"},
	{HEAD "\"spec\":{\"source\":\"PrometheusAlert\",\"prometheusAlert\":{\"labels\":{}}}}",
	 "spec.prometheusAlert.annotations", "is required"},
	{KERNEL("\"type\":\"t\""), "spec.kernelEvent.detector", "is required"},
	{KERNEL("\"detector\":\"d\""), "spec.kernelEvent.type", "is required"},
	{KERNEL("\"detector\":\"d\",\"type\":\"t\",\"time\":\"yesterday\""),
	 "spec.kernelEvent.time", "must be a time such as"},
	{KERNEL("\"detector\":\"d\",\"type\":\"t\",\"cpu\":1.5"), "spec.kernelEvent.cpu",
	 "must be a whole number"},
	{KERNEL("\"detector\":\"d\",\"type\":\"t\",\"count\":1e300"), "spec.kernelEvent.count",
	 "out of range"},
	{KERNEL("\"detector\":\"d\",\"type\":\"t\",\"process\":{\"pid\":-5}"),
	 "spec.kernelEvent.process.pid", "must be at least 0, not -5"},
	{KERNEL("\"detector\":\"d\",\"type\":\"t\",\"process\":{\"parent\":{\"parent\":{\"uid\":"
		"\"root\"}}}"),
	 "spec.kernelEvent.process.parent.parent.uid", "must be a whole number, not a string"},
	{KERNEL("\"detector\":\"d\",\"type\":\"t\",\"stack\":{\"kernel\":[\"a\",null]}"),
	 "spec.kernelEvent.stack.kernel[1]", "must be a string, not null"},
	{KERNEL("\"detector\":\"d\",\"type\":\"t\",\"details\":[]"), "spec.kernelEvent.details",
	 "must be an object, not a list"},
	{PROBE("\"exec\":{}"), "spec.nodeProbe.exec.command", "is required"},
	{PROBE("\"exec\":{\"command\":[]}"), "spec.nodeProbe.exec.command", "must name a program"},
	{PROBE("\"timeoutSeconds\":0,\"exec\":{\"command\":[\"a\"]}"),
	 "spec.nodeProbe.timeoutSeconds", "must be at least 1, not 0"},
	{PROBE("\"timeoutSeconds\":1"), "spec.nodeProbe",
	 "exactly one of exec, httpGet and tcpSocket, not none"},
	{PROBE("\"exec\":{\"command\":[\"a\"]},\"tcpSocket\":{\"port\":1}"), "spec.nodeProbe",
	 "exactly one of exec, httpGet and tcpSocket, not more"},
	{PROBE("\"tcpSocket\":{}"), "spec.nodeProbe.tcpSocket.port", "is required"},
	{PROBE("\"tcpSocket\":{\"port\":0}"), "spec.nodeProbe.tcpSocket.port", "from 1 to 65535"},
	{PROBE("\"tcpSocket\":{\"port\":65536}"), "spec.nodeProbe.tcpSocket.port",
	 "from 1 to 65535"},
	{PROBE("\"tcpSocket\":{\"port\":1.5}"), "spec.nodeProbe.tcpSocket.port", "from 1 to 65535"},
	{PROBE("\"tcpSocket\":{\"port\":\"8080\"}"), "spec.nodeProbe.tcpSocket.port",
	 "name of a port"},
	{PROBE("\"httpGet\":{\"port\":80,\"scheme\":\"ftp\"}"), "spec.nodeProbe.httpGet.scheme",
	 "HTTP or HTTPS"},
	{PROBE("\"httpGet\":{\"port\":80,\"httpHeaders\":[{\"name\":\"A\"},{\"name\":\"a b\"}]}"),
	 "spec.nodeProbe.httpGet.httpHeaders[1].name", "not the name of an HTTP header"},
	{HEAD "\"spec\":{\"source\":\"Probe\",\"podProbe\":{\"namespace\":\"a\",\"name\":\"b\"}}}",
	 "spec.podProbe.container", "is required"},
	{HEAD "\"spec\":{\"source\":\"Custom\",\"assignedDiagnosers\":[{\"name\":\"a\"},{"
	      "\"namespace\":\"b\"}]}}",
	 "spec.assignedDiagnosers[1].name", "is required"},
	{HEAD "\"spec\":{\"source\":\"Custom\",\"assignedRecoverers\":{\"name\":\"a\"}}}",
	 "spec.assignedRecoverers", "must be a list, not an object"},
	{HEAD "\"spec\":{\"source\":\"Custom\",\"assignedRecoverers\":[{\"name\":\"../x\"}]}}",
	 "spec.assignedRecoverers[0].name", "is not a name"},
	{HEAD "\"spec\":{\"source\":\"Custom\",\"context\":\"x\"}}", "spec.context",
	 "must be an object, not a string"},
	{HEAD "\"spec\":{\"source\":\"Custom\",\"skipRecovery\":\"yes\"}}", "spec.skipRecovery",
	 "must be true or false, not a string"},
	{CUSTOM ",\"metadata\":{\"name\":\"A_b\"}}", "metadata.name", "is not a name"},
	{CUSTOM ",\"metadata\":{\"name\":\"\"}}", "metadata.name", "is not a name"},
	{CUSTOM ",\"metadata\":{\"name\":\"a..b\"}}", "metadata.name", "is not a name"},
	{CUSTOM ",\"metadata\":{\"name\":\"" X63 X63 X63 X63 "xx\"}}", "metadata.name",
	 "is not a name"},
	{CUSTOM ",\"metadata\":{\"namespace\":\"" X63 "x\"}}", "metadata.namespace",
	 "is not a namespace"},
	{CUSTOM ",\"metadata\":{\"namespace\":\"a.b\"}}", "metadata.namespace",
	 "is not a namespace"},
	{CUSTOM ",\"metadata\":{\"labels\":{\"a b\":\"c\"}}}", "metadata.labels", "is not a key"},
	{CUSTOM ",\"metadata\":{\"labels\":{\"x/y\":\"a b\"}}}", "metadata.labels.x/y",
	 "not the value of a label"},
	{CUSTOM ",\"metadata\":{\"annotations\":{\"/y\":\"\"}}}", "metadata.annotations",
	 "is not a key"},
	{CUSTOM ",\"status\":{\"phase\":\"Running\"}}", "status.phase",
	 "InformationCollecting, Diagnosing"},
	{CUSTOM ",\"status\":{\"conditions\":[{\"type\":\"Identified\"}]}}",
	 "status.conditions[0].status", "is required"},
	{CUSTOM ",\"status\":{\"information\":[{\"collector\":\"a\",\"artifacts\":[{\"name\":\"b\","
		"\"bytes\":-1}]}]}}",
	 "status.information[0].artifacts[0].bytes", "must be at least 0"},
	{CUSTOM ",\"status\":{\"information\":[{\"collector\":\"a\",\"duration\":5}]}}",
	 "status.information[0].duration", "must be a duration such as"},
	{CUSTOM ",\"status\":{\"actions\":[{}]}}", "status.actions[0].recoverer", "is required"},
	{CUSTOM ",}", "", "line 1, column 84: expected a key"},
};

static void a_refusal_names_the_field_and_what_would_be_right(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct problem problem = {0};
		struct abnormal *abnormal = NULL;
		int r = abnormal_parse(refused[i].text, strlen(refused[i].text), &abnormal,
				       &problem);

		if (r != -EINVAL || !streq(problem.field, refused[i].field) ||
		    !strstr(problem.text, refused[i].message))
			fail_msg("%s\ngave %d, %s: %s\nexpected %s: %s", refused[i].text, r,
				 problem.field, problem.text, refused[i].field, refused[i].message);
		assert_null(abnormal);
	}
}

static void names_and_ports_of_every_good_form_are_taken(void **state)
{
	static const char *const good[] = {
		CUSTOM ",\"metadata\":{\"name\":\"a.b-c.9\",\"namespace\":\"" X63 "\"}}",
		CUSTOM
		",\"metadata\":{\"labels\":{\"app.kubernetes.io/name\":\"A_b.c-9\",\"x\":\"\"}}}",
		PROBE("\"tcpSocket\":{\"port\":65535}"),
		PROBE("\"tcpSocket\":{\"port\":\"http-alt\"}"),
		PROBE("\"httpGet\":{\"port\":\"web\"}"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		abnormal_free(parse(good[i]));
}

static void an_abnormal_over_the_size_limit_is_refused(void **state)
{
	_cleanup_buffer_ struct buffer text = BUFFER(4 * MIB);
	_cleanup_json_ cJSON *json = NULL;
	struct abnormal *abnormal = NULL;
	struct problem problem = {0};

	assert_int_equal(
		buffer_append_text(&text,
				   HEAD "\"spec\":{\"source\":\"Custom\",\"context\":{\"a\":\""),
		0);
	while (text.length < ABNORMAL_BYTES_MAX)
		assert_int_equal(buffer_append_text(&text, X63), 0);
	assert_int_equal(buffer_append_text(&text, "\"}}}"), 0);
	assert_int_equal(abnormal_parse(text.data, text.length, &abnormal, &problem), -EFBIG);
	assert_non_null(strstr(problem.text, "larger than 1024 KiB"));
	assert_int_equal(json_parse(text.data, text.length, &json, NULL), 0);
	assert_int_equal(abnormal_decode(json, &abnormal, &problem), -EFBIG);
	assert_null(abnormal);
}

static void lists_are_bounded(void **state)
{
	_cleanup_buffer_ struct buffer text = BUFFER(1 * MIB);
	struct abnormal *abnormal = NULL;
	struct problem problem = {0};

	assert_int_equal(
		buffer_append_text(
			&text, HEAD
			"\"spec\":{\"source\":\"Custom\",\"assignedDiagnosers\":[{\"name\":\"a\"}"),
		0);
	for (int i = 0; i < 64; i++)
		assert_int_equal(buffer_append_text(&text, ",{\"name\":\"a\"}"), 0);
	assert_int_equal(buffer_append_text(&text, "]}}"), 0);
	assert_int_equal(abnormal_parse(text.data, text.length, &abnormal, &problem), -EINVAL);
	assert_string_equal(problem.field, "spec.assignedDiagnosers");
	assert_string_equal(problem.text, "has 65 items; at most 64 are allowed");
}

static void a_condition_keeps_its_time_until_its_status_changes(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = abnormal_new();

	assert_int_equal(abnormal_set_condition(abnormal, CONDITION_IDENTIFIED, CONDITION_FALSE,
						"A", "a", 1),
			 0);
	assert_int_equal(abnormal_set_condition(abnormal, CONDITION_IDENTIFIED, CONDITION_FALSE,
						"B", NULL, 2),
			 0);
	const struct condition *condition = abnormal_condition(abnormal, CONDITION_IDENTIFIED);
	assert_int_equal(condition->last_transition_time, 1);
	assert_string_equal(condition->reason, "B");
	assert_null(condition->message);
	/* The condition's own texts may be given to it again. */
	assert_int_equal(abnormal_set_condition(abnormal, CONDITION_IDENTIFIED, CONDITION_TRUE,
						condition->reason, "c", 3),
			 0);
	assert_int_equal(abnormal_condition(abnormal, CONDITION_IDENTIFIED)->last_transition_time,
			 3);
	assert_string_equal(abnormal_condition(abnormal, CONDITION_IDENTIFIED)->reason, "B");
	assert_int_equal(abnormal->status.conditions.count, 1);
	assert_null(abnormal_condition(abnormal, CONDITION_RECOVERED));
}

static void the_context_is_made_when_first_asked_for(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = abnormal_new();

	assert_int_equal(json_set_number(abnormal_context(abnormal), "a", 1), 0);
	assert_int_equal(json_number(abnormal_context(abnormal), "a", 0), 1);
}

static int allocations_left;

static void *failing_malloc(size_t size)
{
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void what_is_packed_is_written_as_it_was(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = parse(full);
	_cleanup_free_ char *before = NULL, *packed = NULL, *after = NULL;
	cJSON_Hooks failing = {.malloc_fn = failing_malloc, .free_fn = free};

	assert_int_equal(abnormal_print(abnormal, &before), 0);
	abnormal_pack(abnormal);
	assert_true(cJSON_IsRaw(json_at(abnormal->status.context, "deep")));
	allocations_left = 1;
	cJSON_InitHooks(&failing);
	int r = abnormal_unpack(abnormal);
	cJSON_InitHooks(NULL);
	assert_int_equal(r, -ENOMEM);
	assert_int_equal(abnormal_print(abnormal, &packed), 0);
	assert_string_equal(packed, before);
	assert_int_equal(abnormal_unpack(abnormal), 0);
	assert_true(cJSON_IsArray(json_at(abnormal->status.context, "deep.a")));
	assert_int_equal(abnormal_print(abnormal, &after), 0);
	assert_string_equal(after, before);
}

static void running_out_of_memory_in_cjson_is_an_error_and_leaks_nothing(void **state)
{
	cJSON_Hooks failing = {.malloc_fn = failing_malloc, .free_fn = free};
	int r = -ENOMEM;

	for (int limit = 0; r == -ENOMEM; limit += 7) {
		struct abnormal *abnormal = NULL, *copy = NULL;
		char *text = NULL;

		assert_true(limit < 100000);
		allocations_left = limit;
		cJSON_InitHooks(&failing);
		r = abnormal_parse(full, strlen(full), &abnormal, NULL);
		if (r == 0) {
			copy = abnormal_copy(abnormal);
			r = copy ? abnormal_print(copy, &text) : -ENOMEM;
		}
		cJSON_InitHooks(NULL);
		free(text);
		abnormal_free(copy);
		abnormal_free(abnormal);
	}
	assert_int_equal(r, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_and_unknown_member_survives_a_round_trip),
		cmocka_unit_test(a_copy_is_equal_and_independent),
		cmocka_unit_test(typed_fields_hold_what_the_json_says),
		cmocka_unit_test(the_least_abnormal_stays_the_least),
		cmocka_unit_test(null_and_go_zero_time_count_as_absent),
		cmocka_unit_test(a_process_of_unknown_owner_is_not_said_to_be_of_root),
		cmocka_unit_test(a_refusal_names_the_field_and_what_would_be_right),
		cmocka_unit_test(names_and_ports_of_every_good_form_are_taken),
		cmocka_unit_test(an_abnormal_over_the_size_limit_is_refused),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(a_condition_keeps_its_time_until_its_status_changes),
		cmocka_unit_test(the_context_is_made_when_first_asked_for),
		cmocka_unit_test(what_is_packed_is_written_as_it_was),
		cmocka_unit_test(running_out_of_memory_in_cjson_is_an_error_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
