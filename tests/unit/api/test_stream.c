/* SPDX-License-Identifier: Apache-2.0 */
/* Watchers: those that read, that leave, and that do neither. */
#include "api_fixture.h"

static void a_watch_tells_what_is_there_and_what_changes(void **state)
{
	struct api_bench *bench = *state;

	assert_says(request(bench, "POST", "/api/v1/abnormals", CUSTOM("before")), 201, "created");
	int fd = follow(bench, "/api/v1/abnormals?watch=true");
	await_text(bench, fd, "{\"type\":\"ADDED\"");
	await_text(bench, fd, "\"before\"");
	_cleanup_abnormal_ struct abnormal *later =
		fault(bench->bench, "Custom", "later", NULL, "",
		      "\"skipDiagnosis\":true,\"skipRecovery\":true");
	submit(bench->bench, TAKE_PTR(later));
	await_text(bench, fd, "\"later\"");
	await_text(bench, fd, "{\"type\":\"MODIFIED\"");
	await_text(bench, fd, "\"phase\":\"Succeeded\"");
	assert_int_equal(pipeline_delete(bench->bench->pipeline, "default", "later", NULL, NULL),
			 0);
	await_text(bench, fd, "{\"type\":\"DELETED\"");
	close(fd);
}

static void a_watcher_that_leaves_is_noticed_though_nothing_happens(void **state)
{
	struct api_bench *bench = *state;
	int fd = follow(bench, "/api/v1/abnormals?watch=true");

	assert_int_equal(stream_count(bench->api), 1);
	close(fd);
	WAIT_FOR(&bench->bench->base, "the stream to end", stream_count(bench->api) == 0);
	WAIT_FOR(&bench->bench->base, "the connection to end", bench->api->connection_count == 0);
}

static struct finding finding_of(size_t length)
{
	struct finding finding = {
		.detector = "test", .type = "Test", .subject = malloc(length + 1)};

	assert_non_null(finding.subject);
	memset(finding.subject, 's', length);
	finding.subject[length] = '\0';
	finding.event = cJSON_CreateObject();
	return finding;
}

static void finding_end(struct finding *finding)
{
	free(finding->subject);
	cJSON_Delete(finding->event);
}

static void findings_come_as_lines(void **state)
{
	struct api_bench *bench = *state;
	int fd = follow(bench, "/api/v1/events");
	struct finding finding = finding_of(3);

	api_publish_finding(bench->api, &finding);
	await_text(bench, fd,
		   "{\"detector\":\"test\",\"type\":\"Test\",\"cleared\":false,\"subject\":\"sss\","
		   "\"event\":{}}\n");
	finding_end(&finding);
	close(fd);
}

static void a_watcher_that_does_not_read_is_told_and_closed_and_holds_up_nobody(void **state)
{
	struct api_bench *bench = *state;
	int slow = follow(bench, "/api/v1/events");
	struct finding finding = finding_of(64 * KIB);

	for (size_t i = 0; i < 2 * WATCH_BYTES_MAX / (64 * KIB); i++) {
		api_publish_finding(bench->api, &finding);
		assert_true(sd_event_run(bench->bench->base.event, 1000) >= 0);
	}
	finding_end(&finding);
	assert_int_equal(bench->api->counts.watchers_closed, 1);
	WAIT_FOR(&bench->bench->base, "the end of the stream",
		 (hear(bench, slow), strstr(buffer_text(&bench->answer), "\r\n0\r\n\r\n")));
	assert_non_null(strstr(bench->answer.data, "{\"type\":\"ERROR\""));
	assert_true(bench->answer.length < WATCH_BYTES_MAX + MIB);
	close(slow);
}

int main(int argc, char **argv)
{
	WORKER_OR_RETURN(argc, argv);
	const struct CMUnitTest tests[] = {
		API_TEST(a_watch_tells_what_is_there_and_what_changes),
		API_TEST(a_watcher_that_leaves_is_noticed_though_nothing_happens),
		API_TEST(findings_come_as_lines),
		API_TEST(a_watcher_that_does_not_read_is_told_and_closed_and_holds_up_nobody),
	};
	return cmocka_run_group_tests_name("api: streams", tests, NULL, NULL);
}
