/* SPDX-License-Identifier: Apache-2.0 */
/* The frames between the store and its worker: what was put is got, and nonsense is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <sys/stat.h>

#include "store/store_protocol.h"

struct ends {
	struct channel a, b;
};

static int setup(void **state)
{
	struct ends *ends = calloc(1, sizeof(*ends));
	int pair[2];

	assert_non_null(ends);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	channel_init(&ends->a, pair[0]);
	channel_init(&ends->b, pair[1]);
	*state = ends;
	return 0;
}

static int teardown(void **state)
{
	struct ends *ends = *state;

	channel_close(&ends->a);
	channel_close(&ends->b);
	buffer_free(&ends->a.in);
	buffer_free(&ends->a.out);
	buffer_free(&ends->b.in);
	buffer_free(&ends->b.out);
	free(ends);
	return 0;
}

static struct frame next_frame(struct channel *channel)
{
	struct frame frame;

	assert_true(channel_receive(channel) > 0);
	assert_int_equal(channel_next(channel, &frame), 1);
	return frame;
}

static void a_record_comes_over_whole(void **state)
{
	struct ends *ends = *state;
	struct record record = {.time = -7,
				.put = true,
				.namespace = "",
				.name = "n",
				.uid = "u",
				.fingerprint = "f",
				.phase = "Failed",
				.final = true,
				.created = 3,
				.ended = 4,
				.document = "{\"a\":1}",
				.document_length = 7,
				.position_source = "s"};
	struct frame_writer writer = frame_start(&ends->a.out, FRAME_RECORD, 42);

	record_put(&writer, &record);
	assert_int_equal(frame_finish(&writer), 0);
	assert_int_equal(channel_flush(&ends->a), 0);
	struct frame frame = next_frame(&ends->b);
	struct record got;
	assert_int_equal(record_get(&frame, 9, &got), 0);
	assert_int_equal(got.run, 9);
	assert_int_equal(got.sequence, 42);
	assert_int_equal(got.time, -7);
	assert_string_equal(got.namespace, "");
	assert_string_equal(got.document, "{\"a\":1}");
	assert_int_equal(got.document_length, 7);
	assert_true(got.final && !got.actions && !got.again);
	assert_null(got.transition);
	assert_null(got.delete_namespace);
	assert_string_equal(got.position_source, "s");
	assert_null(got.position);
}

static void a_frame_in_pieces_waits_for_its_rest(void **state)
{
	struct ends *ends = *state;
	struct frame_writer writer = frame_start(&ends->a.out, FRAME_GET, 1);
	struct frame frame;

	frame_put_text(&writer, "default");
	frame_put_text(&writer, NULL);
	assert_int_equal(frame_finish(&writer), 0);
	for (size_t i = 0; i < ends->a.out.length; i++) {
		assert_int_equal(channel_receive(&ends->b), -EAGAIN);
		assert_int_equal(channel_next(&ends->b, &frame), 0);
		assert_int_equal(send(ends->a.fd, ends->a.out.data + i, 1, 0), 1);
		assert_int_equal(channel_receive(&ends->b), 1);
	}
	assert_int_equal(channel_next(&ends->b, &frame), 1);
	assert_string_equal(frame_text(&frame, NULL), "default");
	assert_null(frame_text(&frame, NULL));
	assert_int_equal(frame_check(&frame), 0);
}

static void payloads_that_end_early_or_late_are_refused(void **state)
{
	struct ends *ends = *state;
	struct frame_writer writer = frame_start(&ends->a.out, FRAME_RECORD, 1);

	frame_put_number(&writer, 1);
	frame_put_number(&writer, 1);
	frame_put_text(&writer, "namespace");
	assert_int_equal(frame_finish(&writer), 0);
	writer = frame_start(&ends->a.out, FRAME_GET, 2);
	frame_put_text(&writer, "one too many");
	assert_int_equal(frame_finish(&writer), 0);
	assert_int_equal(channel_flush(&ends->a), 0);
	struct frame frame = next_frame(&ends->b);
	struct record record;
	assert_int_equal(record_get(&frame, 0, &record), -EBADMSG);
	assert_int_equal(channel_next(&ends->b, &frame), 1);
	assert_int_equal(frame_check(&frame), -EBADMSG);
	assert_int_equal(channel_next(&ends->b, &frame), 0);
}

static void headers_that_cannot_be_are_refused(void **state)
{
	struct ends *ends = *state;
	struct frame_header large = {.size = FRAME_BYTES_MAX + 1, .type = FRAME_GET};
	struct frame_header unknown = {.type = FRAME_TYPE_END};
	struct frame frame;

	assert_int_equal(send(ends->a.fd, &large, sizeof(large), 0), sizeof(large));
	assert_int_equal(channel_receive(&ends->b), sizeof(large));
	assert_int_equal(channel_next(&ends->b, &frame), -EBADMSG);
	assert_int_equal(send(ends->b.fd, &unknown, sizeof(unknown), 0), sizeof(unknown));
	assert_int_equal(channel_receive(&ends->a), sizeof(unknown));
	assert_int_equal(channel_next(&ends->a, &frame), -EBADMSG);
}

static void a_payload_over_the_limit_is_not_sent(void **state)
{
	struct ends *ends = *state;
	char *text = calloc(1, FRAME_BYTES_MAX + 1);
	struct frame_writer writer = frame_start(&ends->a.out, FRAME_PART, 1);

	frame_put_bytes(&writer, text, FRAME_BYTES_MAX);
	assert_int_equal(frame_finish(&writer), -EFBIG);
	assert_int_equal(ends->a.out.length, 0);
	writer = frame_start(&ends->a.out, FRAME_PART, 1);
	frame_put_bytes(&writer, text, FRAME_BYTES_MAX + 1);
	assert_int_equal(frame_finish(&writer), -EFBIG);
	assert_int_equal(ends->a.out.length, 0);
	free(text);
}

static void a_descriptor_comes_with_its_frame(void **state)
{
	struct ends *ends = *state;
	struct stat sent, received;

	assert_int_equal(channel_send_fd(&ends->a, FRAME_DUMPED, 5, ends->a.fd), 0);
	struct frame frame = next_frame(&ends->b);
	assert_int_equal(frame_number(&frame), 5);
	assert_int_equal(frame_check(&frame), 0);
	assert_true(ends->b.received_fd >= 0);
	assert_int_equal(fstat(ends->a.fd, &sent), 0);
	assert_int_equal(fstat(ends->b.received_fd, &received), 0);
	assert_int_equal(sent.st_ino, received.st_ino);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_record_comes_over_whole),
		TEST(a_frame_in_pieces_waits_for_its_rest),
		TEST(payloads_that_end_early_or_late_are_refused),
		TEST(headers_that_cannot_be_are_refused),
		TEST(a_payload_over_the_limit_is_not_sent),
		TEST(a_descriptor_comes_with_its_frame),
	};
	return cmocka_run_group_tests_name("store protocol", tests, NULL, NULL);
}
