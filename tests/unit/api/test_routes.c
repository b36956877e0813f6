/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the API, and what it answers. */
#include "api_fixture.h"

static void what_is_submitted_can_be_listed_read_and_deleted(void **state)
{
	struct api_bench *bench = *state;

	assert_says(request(bench, "GET", "/api/v1/abnormals", ""), 200, "\"items\":[]");
	assert_says(request(bench, "POST", "/api/v1/abnormals", CUSTOM("one")), 201,
		    "\"result\":\"created\"");
	assert_says(request(bench, "POST", "/api/v1/abnormals", CUSTOM("one")), 200,
		    "\"name\":\"one\"");
	assert_says(request(bench, "POST", "/api/v1/abnormals",
			    "{\"apiVersion\":\"lifeboat.dev/"
			    "v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"one\"},"
			    "\"spec\":{\"source\":\"Custom\",\"context\":{\"b\":2}}}"),
		    409, "another Abnormal has this name");
	assert_says(request(bench, "POST", "/api/v1/abnormals",
			    "{\"apiVersion\":\"lifeboat.dev/"
			    "v1alpha1\",\"kind\":\"Abnormal\",\"spec\":{\"source\":\"Custom\","
			    "\"nodeName\":\"mars\",\"context\":{\"b\":2}}}"),
		    422, "spec.nodeName");
	assert_says(request(bench, "GET", "/api/v1/abnormals?namespace=default", ""), 200,
		    "\"name\":\"one\"");
	assert_says(request(bench, "GET", "/api/v1/abnormals?namespace=other", ""), 200,
		    "\"items\":[]");
	assert_says(request(bench, "GET", "/api/v1/namespaces/default/abnormals/one", ""), 200,
		    "\"kind\":\"Abnormal\"");
	assert_says(request(bench, "GET", "/api/v1/namespaces/default/abnormals/one/history", ""),
		    200, "\"kind\":\"List\"");
	assert_says(request(bench, "DELETE", "/api/v1/namespaces/default/abnormals/one", ""), 200,
		    "deleted");
	assert_says(request(bench, "GET", "/api/v1/namespaces/default/abnormals/one", ""), 404,
		    "no Abnormal one");
	assert_says(request(bench, "DELETE", "/api/v1/namespaces/default/abnormals/one", ""), 404,
		    "no Abnormal one");
}

static void what_the_agent_alone_writes_is_not_taken_from_a_user(void **state)
{
	struct api_bench *bench = *state;
	const char *text =
		"{\"apiVersion\":\"lifeboat.dev/"
		"v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"sly\","
		"\"uid\":\"../../etc\"},\"spec\":{\"source\":\"Custom\",\"context\":{\"a\":1}},"
		"\"status\":{\"phase\":\"Succeeded\",\"reason\":\"Forged\"}}";

	assert_says(request(bench, "POST", "/api/v1/abnormals", text), 201, "created");
	const char *answer = request(bench, "GET", "/api/v1/namespaces/default/abnormals/sly", "");
	assert_says(answer, 200, "\"uid\"");
	assert_null(strstr(answer, "Forged"));
	assert_null(strstr(answer, "etc"));
	assert_says(request(bench, "POST", "/api/v1/diagnosers/holmes/diagnose", text), 400,
		    "metadata.uid");
}

static void an_unknown_path_or_method_or_parameter_is_named(void **state)
{
	struct api_bench *bench = *state;

	assert_says(request(bench, "GET", "/api/v2/abnormals", ""), 404, "/api/v2/abnormals");
	assert_says(request(bench, "PUT", "/api/v1/abnormals", ""), 405, "Allow: GET, POST");
	assert_says(request(bench, "HEAD", "/healthz", ""), 405, "Allow: GET");
	assert_says(request(bench, "GET", "/api/v1/abnormals?wach=true", ""), 400, "wach");
	assert_says(request(bench, "GET", "/api/v1/abnormals?watch=yes", ""), 400, "true or false");
	assert_says(request(bench, "POST",
			    "/api/v1/recoverers/gentle/"
			    "recover?namespace=default&abnormal=x&dryrun=true",
			    ""),
		    400, "dryrun");
	assert_says(request(bench, "POST",
			    "/api/v1/recoverers/gentle/"
			    "recover?namespace=default&abnormal=x&dryRun",
			    ""),
		    400, "dryRun has no value");
	assert_says(request(bench, "POST",
			    "/api/v1/recoverers/gentle/"
			    "recover?namespace=default&abnormal=x&dryRun=false&dryRun=true",
			    ""),
		    400, "dryRun is there more than once");
	assert_says(request(bench, "POST",
			    "/api/v1/recoverers/gentle/recover?namespace=default&abnormal=x", ""),
		    404, "no Abnormal x");
	assert_says(request(bench, "POST",
			    "/api/v1/recoverers/nobody/recover?namespace=default&abnormal=x", ""),
		    404, "no recoverer nobody");
}

static void bad_json_is_refused_with_its_place_and_a_bad_field_by_name(void **state)
{
	struct api_bench *bench = *state;

	assert_says(request(bench, "POST", "/api/v1/abnormals", "{\n \"a\": [}"), 400, "line 2");
	assert_says(request(bench, "POST", "/api/v1/abnormals", ""), 400, "error");
	assert_says(request(bench, "POST", "/api/v1/abnormals",
			    "{\"apiVersion\":\"lifeboat.dev/"
			    "v1alpha1\",\"kind\":\"Abnormal\",\"spec\":{\"source\":\"Log\","
			    "\"log\":{\"filePath\":\"/x\"}}}"),
		    400, "\"field\":\"spec.log.logEntry\"");
	assert_says(request(bench, "GET", "/api/v1/abnormals", ""), 200, "\"items\":[]");
}

static void a_body_over_the_limit_is_refused_announced_or_not(void **state)
{
	struct api_bench *bench = *state;
	size_t size = ABNORMAL_BYTES_MAX + 1;
	_cleanup_free_ char *body = malloc(size + 1);
	_cleanup_buffer_ struct buffer chunked = BUFFER(8 * MIB);

	assert_non_null(body);
	memset(body, ' ', size);
	body[size] = '\0';
	assert_says(request(bench, "POST", "/api/v1/abnormals", body), 413, "more than");
	assert_int_equal(
		buffer_printf(&chunked,
			      "POST /api/v1/abnormals HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			      "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
			      size, body),
		0);
	assert_says(exchange_on(bench, dial(bench), chunked.data, chunked.length), 413,
		    "more than");
	assert_says(request(bench, "GET", "/healthz", ""), 200, "ok");
}

static void a_plugin_runs_by_hand_and_its_answer_comes_back(void **state)
{
	struct api_bench *bench = *state;
	_cleanup_free_ char *body = NULL;
	_cleanup_abnormal_ struct abnormal *abnormal =
		fault(bench->bench, "Custom", "asked", NULL,
		      "\"holmes\":{\"diagnose\":\"yes\"},\"looker\":{\"collect\":\"yes\"}", "");

	assert_int_equal(abnormal_print(abnormal, &body), 0);
	assert_says(request(bench, "POST", "/api/v1/diagnosers/holmes/diagnose", body), 200,
		    "\"reason\":\"TestFault\"");
	assert_says(request(bench, "POST", "/api/v1/informationcollectors/looker/collect", body),
		    200, "\"looker\":\"evidence\"");
	assert_says(request(bench, "POST", "/api/v1/diagnosers/nobody/diagnose", body), 404,
		    "lifeboat get diagnosers");
	assert_says(request(bench, "GET", "/api/v1/abnormals", ""), 200, "\"items\":[]");
}

static void a_client_that_leaves_before_its_answer_leaves_nothing_behind(void **state)
{
	struct api_bench *bench = *state;
	int fd = ask_and_wait(bench);

	close(fd);
	WAIT_FOR(&bench->bench->base, "the connection to end", bench->api->connection_count == 0);
	/* The call ends with the pipeline, in teardown, and finds nobody. */
}

static void an_answer_that_does_not_come_is_given_up(void **state)
{
	struct api_bench *bench = *state;
	int fd = ask_and_wait(bench);

	bench->skew_ns = (ANSWER_TIMEOUT_S + 1) * NS_PER_S;
	buffer_free(&bench->answer);
	await_text(bench, fd, "\"error\"");
	assert_int_equal(status_of(bench->answer.data), 504);
	close(fd);
}

static void status_and_parts_are_told(void **state)
{
	struct api_bench *bench = *state;

	assert_says(request(bench, "GET", "/api/v1/status", ""), 200, "\"medium\":\"disk\"");
	assert_says(request(bench, "GET", "/api/v1/collectors", ""), 200, "looker");
	assert_says(request(bench, "GET", "/api/v1/diagnosers", ""), 200, "holmes");
	assert_says(request(bench, "GET", "/api/v1/recoverers", ""), 200, "gentle");
	assert_says(request(bench, "GET", "/api/v1/detectors", ""), 200, "\"items\":[");
	assert_says(request(bench, "GET", "/api/v1/sources", ""), 200, "\"items\":[");
}

int main(int argc, char **argv)
{
	WORKER_OR_RETURN(argc, argv);
	const struct CMUnitTest tests[] = {
		API_TEST(what_is_submitted_can_be_listed_read_and_deleted),
		API_TEST(what_the_agent_alone_writes_is_not_taken_from_a_user),
		API_TEST(an_unknown_path_or_method_or_parameter_is_named),
		API_TEST(bad_json_is_refused_with_its_place_and_a_bad_field_by_name),
		API_TEST(a_body_over_the_limit_is_refused_announced_or_not),
		API_TEST(a_plugin_runs_by_hand_and_its_answer_comes_back),
		API_TEST(a_client_that_leaves_before_its_answer_leaves_nothing_behind),
		API_TEST(an_answer_that_does_not_come_is_given_up),
		API_TEST(status_and_parts_are_told),
	};
	return cmocka_run_group_tests_name("api: routes", tests, NULL, NULL);
}
