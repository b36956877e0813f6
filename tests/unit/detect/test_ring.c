/* SPDX-License-Identifier: Apache-2.0 */
/* What of the ring is kept, on a real ring that a small program of the test's own fills. */
#include "../host/fake_root.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "../skip.h"
#include "detect/pins.h"
#include "detect/ring.h"
#include "detect/ring_view.h"

#define RING_BYTES (64 * KIB)

struct record {
	struct event_header header;
	uint64_t number;
};

struct fixture {
	struct fake_root *root;
	struct pins *pins;
	struct ring *ring;
	int program;
	uint64_t numbers[16384], positions[16384];
	size_t count;
	bool keep; /* whatever is read from here on */
};

static size_t size_of(void *userdata, uint16_t type)
{
	return type == EVENT_OOM_KILL ? sizeof(struct record) : 0;
}

static void on_record(void *userdata, const struct event_header *header)
{
	struct fixture *fixture = userdata;

	assert_true(fixture->count < ARRAY_SIZE(fixture->numbers));
	fixture->numbers[fixture->count] = ((const struct record *)header)->number;
	fixture->positions[fixture->count++] = ring_current(fixture->ring);
	if (fixture->keep)
		ring_keep(fixture->ring, ring_current(fixture->ring));
}

#define LOAD_MAP(reg, fd)                   \
	{.code = BPF_LD | BPF_DW | BPF_IMM, \
	 .dst_reg = reg,                    \
	 .src_reg = BPF_PSEUDO_MAP_FD,      \
	 .imm = fd},                        \
	{                                   \
	}
#define STORE(offset, value)                                                             \
	{                                                                                \
		.code = BPF_ST | BPF_DW | BPF_MEM, .dst_reg = BPF_REG_10, .off = offset, \
		.imm = (int)(value)                                                      \
	}

/* A raw tracepoint's program, which is run by hand: writes one record with its first argument as number. */
static int load_writer(int events)
{
	const struct bpf_insn program[] = {
		{.code = BPF_LDX | BPF_DW | BPF_MEM, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_1},
		{.code = BPF_ST | BPF_W | BPF_MEM,
		 .dst_reg = BPF_REG_10,
		 .off = -32,
		 .imm = EVENT_OOM_KILL | EVENTS_VERSION << 16},
		{.code = BPF_ST | BPF_W | BPF_MEM,
		 .dst_reg = BPF_REG_10,
		 .off = -28,
		 .imm = sizeof(struct record)},
		STORE(-24, 0),
		STORE(-16, 0),
		{.code = BPF_STX | BPF_DW | BPF_MEM,
		 .dst_reg = BPF_REG_10,
		 .src_reg = BPF_REG_6,
		 .off = -8},
		LOAD_MAP(BPF_REG_1, events),
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_10},
		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -32},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K,
		 .dst_reg = BPF_REG_3,
		 .imm = sizeof(struct record)},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K,
		 .dst_reg = BPF_REG_4,
		 .imm = BPF_RB_FORCE_WAKEUP},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_ringbuf_output},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "ring_writer", "GPL", program,
			     ARRAY_SIZE(program), NULL);
}

/* Returns what the kernel says: 0, or -EAGAIN where the ring has no room. */
static int write_number(const struct fixture *fixture, uint64_t number)
{
	uint64_t arguments[1] = {number};
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = arguments,
		    .ctx_size_in = sizeof(arguments));

	assert_int_equal(bpf_prog_test_run_opts(fixture->program, &options), 0);
	return (int)options.retval;
}

static void open_ring(struct fixture *fixture)
{
	struct ring_options options = {
		.host = fixture->root->host,
		.events_fd = pins_events_fd(fixture->pins),
		.lost_fd = pins_lost_fd(fixture->pins),
		.size_of = size_of,
		.on_record = on_record,
		.userdata = fixture,
	};
	char reason[512];

	assert_int_equal(ring_new(&options, &fixture->ring, reason, sizeof(reason)), 0);
}

static uint64_t waiting(const struct fixture *fixture)
{
	struct ring_left left;

	assert_int_equal(ring_left_count(pins_events_fd(fixture->pins), &left), 0);
	return left.records;
}

/* As after a kill: another agent opens the same maps. */
static void reopen_ring(struct fixture *fixture)
{
	ring_free(fixture->ring);
	fixture->count = 0;
	open_ring(fixture);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct pins_options options = {.ring_bytes = RING_BYTES};
	char reason[512] = "";

	if (fake_root_setup((void **)&fixture->root) < 0)
		return -1;
	*state = fixture;
	if (pins_open(&options, &fixture->pins, reason, sizeof(reason)) < 0)
		return 0;
	fixture->program = load_writer(pins_events_fd(fixture->pins));
	assert_true(fixture->program >= 0);
	open_ring(fixture);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->pins) {
		close(fixture->program);
		ring_free(fixture->ring);
		pins_close(fixture->pins);
	}
	fake_root_teardown((void **)&fixture->root);
	free(fixture);
	return 0;
}

static struct fixture *fixture_of(void **state)
{
	struct fixture *fixture = *state;

	if (!fixture->pins)
		skip_because("needs the right to make BPF maps (CAP_BPF)");
	return fixture;
}

static void records_come_in_order_and_their_room_is_given_back(void **state)
{
	struct fixture *fixture = fixture_of(state);

	/* Several times what the ring holds. */
	for (uint64_t number = 0; number < 8000; number++) {
		assert_int_equal(write_number(fixture, number), 0);
		ring_read(fixture->ring);
	}
	assert_int_equal(fixture->count, 8000);
	for (size_t i = 0; i < fixture->count; i++)
		assert_int_equal(fixture->numbers[i], i);
}

static void what_is_kept_is_read_again_by_the_next_agent(void **state)
{
	struct fixture *fixture = fixture_of(state);

	for (uint64_t number = 0; number < 10; number++) {
		fixture->keep = number == 4 || number == 7;
		write_number(fixture, number);
		ring_read(fixture->ring);
	}
	ring_release(fixture->ring, fixture->positions[7]); /* an older one is kept still */
	fixture->keep = false;
	reopen_ring(fixture);
	ring_read(fixture->ring);
	assert_int_equal(fixture->count, 6);
	assert_int_equal(fixture->numbers[0], 4);
	assert_int_equal(fixture->numbers[5], 9);
	reopen_ring(fixture);
	ring_read(fixture->ring);
	assert_int_equal(fixture->count, 0);
}

static void what_is_kept_twice_is_released_twice(void **state)
{
	struct fixture *fixture = fixture_of(state);

	fixture->keep = true;
	write_number(fixture, 1);
	ring_read(fixture->ring);
	ring_keep(fixture->ring, fixture->positions[0]);
	ring_release(fixture->ring, fixture->positions[0]);
	fixture->keep = false;
	uint64_t position = fixture->positions[0];

	assert_int_equal(waiting(fixture), 1);
	ring_release(fixture->ring, position);
	assert_int_equal(waiting(fixture), 0);
	ring_release(fixture->ring, position); /* changes nothing */
	ring_release(fixture->ring, 12345);
	ring_keep(fixture->ring, position); /* is not there any more */
	assert_int_equal(waiting(fixture), 0);
}

static void a_record_at_hand_is_kept_while_it_is_handled(void **state)
{
	struct fixture *fixture = fixture_of(state);

	write_number(fixture, 1);
	write_number(fixture, 2);
	assert_int_equal(waiting(fixture), 2);
	ring_read(fixture->ring);
	assert_int_equal(waiting(fixture), 0);
}

static void keeping_cannot_fill_the_ring(void **state)
{
	struct fixture *fixture = fixture_of(state);

	fixture->keep = true;
	for (uint64_t number = 0; number < 5000; number++) {
		assert_int_equal(write_number(fixture, number), 0);
		ring_read(fixture->ring);
	}
	assert_int_equal(fixture->count, 5000);
	fixture->keep = false;
	reopen_ring(fixture);
	for (unsigned i = 0; i < 100; i++)
		ring_read(fixture->ring);
	/* The younger half of what the ring holds. */
	assert_in_range(fixture->count, 700, RING_BYTES / 2 / 40);
	assert_int_equal(fixture->numbers[fixture->count - 1], 4999);
}

static void nobody_reading_loses_what_finds_no_room(void **state)
{
	struct fixture *fixture = fixture_of(state);
	uint64_t written = 0;

	while (write_number(fixture, written) == 0)
		written++;
	for (unsigned i = 0; i < 100; i++)
		ring_read(fixture->ring);
	assert_int_equal(fixture->count, written);
	assert_int_equal(fixture->numbers[written - 1], written - 1);
}

static void a_record_has_a_name_that_no_other_ring_gives(void **state)
{
	struct fixture *fixture = fixture_of(state);
	struct pins_options options = {.ring_bytes = RING_BYTES};
	char text[RING_RECORD_TEXT_SIZE], other[RING_RECORD_TEXT_SIZE], reason[512];

	ring_record_text(fixture->ring, 40, text);
	assert_non_null(strchr(text, ':'));
	reopen_ring(fixture);
	assert_string_equal(ring_record_text(fixture->ring, 40, other), text);
	pins_close(fixture->pins);
	ring_free(fixture->ring);
	assert_int_equal(pins_open(&options, &fixture->pins, reason, sizeof(reason)), 0);
	open_ring(fixture);
	assert_string_not_equal(ring_record_text(fixture->ring, 40, other), text);
}

static void what_is_left_is_counted_by_type(void **state)
{
	struct fixture *fixture = fixture_of(state);
	struct ring_left left;
	char text[64];

	for (uint64_t number = 0; number < 3; number++)
		write_number(fixture, number);
	assert_int_equal(ring_left_count(pins_events_fd(fixture->pins), &left), 0);
	assert_int_equal(left.records, 3);
	left.by_type[EVENT_NONE] = 2;
	left.by_type[31] = 1;
	assert_string_equal(ring_left_text(&left, text, sizeof(text)),
			    "2 of type 0, 3 oom_kill, 1 of type 31");
	assert_true(ring_left_count(pins_lost_fd(fixture->pins), &left) == -EPROTO);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(records_come_in_order_and_their_room_is_given_back),
		TEST(what_is_kept_is_read_again_by_the_next_agent),
		TEST(what_is_kept_twice_is_released_twice),
		TEST(a_record_at_hand_is_kept_while_it_is_handled),
		TEST(keeping_cannot_fill_the_ring),
		TEST(nobody_reading_loses_what_finds_no_room),
		TEST(a_record_has_a_name_that_no_other_ring_gives),
		TEST(what_is_left_is_counted_by_type),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
