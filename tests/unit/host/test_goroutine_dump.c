/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goroutine dumps as text: real ones of containerd's shims, kept for the fuzzer too, and forms written by
 * hand. Run from the repository's root, as `make check-unit` does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "base/buffer.h"
#include "base/file.h"
#include "host/goroutine_dump.h"

#define CORPUS "tests/fuzz/corpus/goroutines/"
#define _cleanup_dump_ _cleanup_(goroutine_dump_freep)

static struct goroutine_dump *parse(const char *text, size_t length)
{
	struct goroutine_dump *dump = NULL;
	/* A copy of the exact size, so that the sanitizer sees a read beyond it. */
	_cleanup_free_ char *copy = malloc(length ? length : 1);

	memcpy(copy, text, length);
	assert_int_equal(goroutine_dump_parse(copy, length, &dump), 0);
	assert_non_null(dump);
	return dump;
}

static struct goroutine_dump *parse_file(const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t length;

	if (file_read(AT_FDCWD, path, MIB, &text, &length) < 0)
		fail_msg("cannot read %s: run this test from the repository's root", path);
	return parse(text, length);
}

static const struct goroutine *find(const struct goroutine_dump *dump, uint64_t id)
{
	const struct goroutine *goroutine = goroutine_dump_find(dump, id);

	if (!goroutine)
		fail_msg("there is no goroutine %d", (int)id);
	return goroutine;
}

static void expect_frame(const struct goroutine *goroutine, size_t index, const char *function,
			 const char *file, uint32_t line)
{
	assert_true(index < goroutine->frame_count);
	assert_string_equal(goroutine->frames[index].function, function);
	assert_string_equal(goroutine->frames[index].file, file);
	assert_int_equal(goroutine->frames[index].line, line);
}

#define SHIM "github.com/containerd/containerd/runtime/v1/shim."
#define MODULE "/root/go/pkg/mod/github.com/containerd/containerd@v1.2.0/"

static void the_deadlocked_shims_goroutine_1_sends_in_reap(void **state)
{
	_cleanup_dump_ struct goroutine_dump *dump = parse_file(CORPUS "shim-v1-deadlock.txt");
	const struct goroutine *first = find(dump, 1);

	assert_int_equal(dump->count, 63);
	assert_false(dump->truncated);
	assert_false(dump->escaped);
	assert_string_equal(first->state, "chan send");
	assert_int_equal(first->wait_minutes, 47);
	assert_int_equal(first->frame_count, 4);
	expect_frame(first, 0, SHIM "Reap", MODULE "runtime/v1/shim/reaper.go", 44);
	expect_frame(first, 1, "main.handleSignals", MODULE "cmd/containerd-shim/main_unix.go",
		     196);
	assert_string_equal(goroutine_function_name(first->frames[0].function), "shim.Reap");
	assert_string_equal(first->created_by, "");
}

static void a_healthy_shims_goroutine_1_selects_in_handle_signals(void **state)
{
	_cleanup_dump_ struct goroutine_dump *dump = parse_file(CORPUS "shim-v1-healthy.txt");
	const struct goroutine *first = find(dump, 1);

	assert_string_equal(first->state, "select");
	assert_string_equal(first->frames[0].function, "main.handleSignals");
	assert_false(dump->truncated);
}

static void an_escaped_line_is_read_as_the_lines_it_was(void **state)
{
	_cleanup_dump_ struct goroutine_dump *shim =
		parse_file(CORPUS "shim-v2-healthy-escaped.txt");
	_cleanup_dump_ struct goroutine_dump *plain = parse_file(CORPUS "kinds-go1.26.txt");
	_cleanup_dump_ struct goroutine_dump *escaped =
		parse_file(CORPUS "kinds-go1.26-escaped.txt");
	_cleanup_dump_ struct goroutine_dump *json = parse_file(CORPUS "json-logger.txt");

	assert_true(shim->escaped);
	assert_false(shim->truncated);
	assert_string_equal(find(shim, 1)->state, "select");
	assert_true(escaped->escaped && json->escaped && !plain->escaped);
	assert_int_equal(plain->count, escaped->count);
	assert_int_equal(plain->count, json->count);
	for (size_t i = 0; i < plain->count; i++) {
		assert_int_equal(plain->items[i].frame_count, json->items[i].frame_count);
		for (size_t f = 0; f < plain->items[i].frame_count; f++)
			expect_frame(&json->items[i], f, plain->items[i].frames[f].function,
				     plain->items[i].frames[f].file,
				     plain->items[i].frames[f].line);
	}
}

static void each_kind_of_wait_has_the_runtimes_words(void **state)
{
	static const char *const states[] = {
		"chan send",
		"chan receive",
		"chan send (nil chan)",
		"chan receive (nil chan)",
		"select",
		"select (no cases)",
		"sync.Mutex.Lock",
		"sync.RWMutex.RLock",
		"sync.WaitGroup.Wait",
		"sync.Cond.Wait",
		"IO wait",
		"sleep",
		"syscall",
		"running",
	};
	_cleanup_dump_ struct goroutine_dump *dump = parse_file(CORPUS "kinds-go1.26.txt");
	bool locked = false;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		bool found = false;

		for (size_t g = 0; g < dump->count; g++)
			found = found || streq(dump->items[g].state, states[i]);
		if (!found)
			fail_msg("no goroutine is in state %s", states[i]);
	}
	for (size_t g = 0; g < dump->count; g++)
		locked = locked || dump->items[g].locked;
	assert_true(locked);
}

static void what_older_and_newer_runtimes_print_is_read(void **state)
{
	_cleanup_dump_ struct goroutine_dump *old = parse_file(CORPUS "go1.9-by-hand.txt");
	_cleanup_dump_ struct goroutine_dump *new = parse_file(CORPUS "sigquit-system-go1.26.txt");
	const struct goroutine *first = find(old, 1), *thread = find(old, 17),
			       *waiter = find(old, 33), *running = find(old, 34),
			       *idle = find(old, 35), *odd = find(old, 36);

	assert_false(old->truncated);
	assert_int_equal(old->count, 6);
	assert_string_equal(first->state, "chan send");
	assert_int_equal(first->wait_minutes, 1042);
	assert_string_equal(first->frames[0].function,
			    "github.com/containerd/containerd/reaper.Reap");
	assert_true(thread->locked && !first->locked);
	assert_string_equal(waiter->state, "semacquire");
	assert_string_equal(waiter->created_by, "main.main");
	expect_frame(waiter, 1, "sync.(*Mutex).Lock", "/usr/local/go/src/sync/mutex.go", 134);
	assert_int_equal(waiter->frame_count, 3);
	assert_string_equal(running->state, "running");
	assert_int_equal(running->frame_count, 0);
	assert_string_equal(running->created_by, "main.executeShim");
	assert_string_equal(idle->state, "GC worker (idle)");
	expect_frame(idle, 0, "runtime.gopark", "/a path/with: colons:7/proc.go", 280);
	assert_string_equal(idle->created_by, "runtime.gcBgMarkStartWorkers");
	/* That the garbage collector looks at it is no state; an ancestor's frames are not its own. */
	assert_string_equal(odd->state, "select (no cases)");
	assert_int_equal(odd->frame_count, 3);
	expect_frame(odd, 0, "main.(*T).f", "/x.go", 12);
	expect_frame(odd, 1, "main.generic[...]", "/x.go", 13);
	expect_frame(odd, 2, "panic", "/usr/local/go/src/runtime/panic.go", 914);

	assert_string_equal(find(new, 1)->state, "chan receive");
	expect_frame(find(new, 1), 3, "main.main", "/src/goroutines.go", 103);
	assert_string_equal(find(new, 0)->state, "idle");
}

static void the_last_whole_dump_counts_whatever_is_written_between(void **state)
{
	_cleanup_dump_ struct goroutine_dump *dump = parse_file(CORPUS "several-interleaved.txt");
	_cleanup_dump_ struct goroutine_dump *twice = parse_file(CORPUS "unmarked-twice.txt");

	assert_false(dump->truncated);
	assert_int_equal(dump->count, 4);
	assert_int_equal(find(dump, 1)->frame_count, 2);
	expect_frame(find(dump, 1), 0, "main.second", "/x.go", 2);
	expect_frame(find(dump, 1), 1, "main.main", "/x.go", 3);
	assert_string_equal(find(dump, 5)->state, "chan receive (durable)");
	assert_int_equal(find(dump, 5)->wait_minutes, 2);
	assert_true(find(dump, 5)->locked);
	assert_string_equal(find(dump, 6)->state, "chan receive (leaked)");
	assert_string_equal(find(dump, 8)->state, "sleep");
	assert_int_equal(find(dump, 8)->wait_minutes, 9);
	assert_int_equal(twice->count, 1);
	assert_string_equal(find(twice, 1)->state, "chan send");
}

static void a_dump_that_is_cut_says_so(void **state)
{
	_cleanup_free_ char *text = NULL;
	size_t length;

	assert_int_equal(
		file_read(AT_FDCWD, CORPUS "shim-v2-healthy-escaped.txt", MIB, &text, &length), 0);
	for (size_t cut = 200; cut < length - 400; cut += 97) {
		_cleanup_dump_ struct goroutine_dump *dump = parse(text, cut);

		assert_true(dump->truncated);
	}
	_cleanup_dump_ struct goroutine_dump *dump = parse_file(CORPUS "cut.txt");
	assert_true(dump->truncated);
	assert_true(dump->count > 5);
}

static void limits_are_kept_and_told(void **state)
{
	_cleanup_buffer_ struct buffer text = BUFFER(16 * MIB);

	for (int i = 1; i <= GOROUTINES_MAX + 5; i++)
		buffer_printf(&text, "goroutine %d [select]:\nmain.f()\n\t/x.go:1 +0x1\n\n", i);
	_cleanup_dump_ struct goroutine_dump *many = parse(text.data, text.length);
	assert_int_equal(many->count, GOROUTINES_MAX);
	assert_true(many->truncated);

	text.length = 0;
	buffer_printf(&text, "goroutine 1 [select]:\n");
	for (int i = 0; i < GOROUTINE_FRAMES_MAX + 5; i++)
		buffer_printf(&text, "main.f%d()\n\t/x.go:1 +0x1\n", i);
	_cleanup_dump_ struct goroutine_dump *deep = parse(text.data, text.length);
	assert_int_equal(deep->items[0].frame_count, GOROUTINE_FRAMES_MAX);
	assert_true(deep->truncated);
}

static void what_is_no_dump_is_none(void **state)
{
	static const char *const texts[] = {
		"",
		"goroutine",
		"goroutine 1",
		"a log line of goroutine 5 [running]: something\n",
		"goroutine x [running]:\nmain.main()\n",
		"=== BEGIN goroutine stack dump ===\n=== END goroutine stack dump ===\n",
		"level=info msg=\"\\n\\n]:\\n\"\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct goroutine_dump *dump = NULL;
		int r = goroutine_dump_parse(texts[i], strlen(texts[i]), &dump);

		if (r != -ENODATA)
			fail_msg("\"%s\" is taken for a dump", texts[i]);
	}
}

static void names_are_made_plain(void **state)
{
	_cleanup_dump_ struct goroutine_dump *dump = parse_file(CORPUS "not-utf8.txt");

	assert_string_equal(dump->items[0].state, "run???[31mning");
	expect_frame(&dump->items[0], 0, "main.?", "/??.go", 1);
}

static void equal_goroutines_are_one_group_the_largest_first(void **state)
{
	_cleanup_dump_ struct goroutine_dump *dump = parse_file(CORPUS "shim-v1-deadlock.txt");
	_cleanup_json_ cJSON *summary = goroutine_dump_summary(dump, 3, 6);
	const cJSON *groups = json_at(summary, "groups"), *largest = cJSON_GetArrayItem(groups, 0);

	assert_int_equal(json_u64(summary, "goroutines"), 63);
	assert_int_equal(cJSON_GetArraySize(groups), 3);
	assert_int_equal(json_u64(summary, "groupCount"), 14);
	assert_int_equal(json_u64(largest, "count"), 25);
	assert_string_equal(json_string(largest, "state"), "sync.Mutex.Lock");
	assert_int_equal(json_u64(largest, "waitMinutes"), 47);
	assert_string_equal(json_string(largest, "createdBy"),
			    "github.com/containerd/ttrpc.(*serverConn).run");
	assert_int_equal(cJSON_GetArraySize(json_at(largest, "frames")), 6);
	const cJSON *reap = cJSON_GetArrayItem(json_at(summary, "main.frames"), 0);
	assert_string_equal(json_string(reap, "function"), SHIM "Reap");
	assert_int_equal(json_u64(reap, "line"), 44);
	assert_string_equal(json_string(json_at(summary, "main"), "state"), "chan send");
}

static void a_function_is_named_without_its_import_path(void **state)
{
	assert_string_equal(goroutine_function_name(SHIM "(*Monitor).Unsubscribe"),
			    "shim.(*Monitor).Unsubscribe");
	assert_string_equal(goroutine_function_name("main.main"), "main.main");
	assert_string_equal(goroutine_function_name("a/b.F[c/d.T]"), "b.F[c/d.T]");
	assert_string_equal(goroutine_function_name(""), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_deadlocked_shims_goroutine_1_sends_in_reap),
		cmocka_unit_test(a_healthy_shims_goroutine_1_selects_in_handle_signals),
		cmocka_unit_test(an_escaped_line_is_read_as_the_lines_it_was),
		cmocka_unit_test(each_kind_of_wait_has_the_runtimes_words),
		cmocka_unit_test(what_older_and_newer_runtimes_print_is_read),
		cmocka_unit_test(the_last_whole_dump_counts_whatever_is_written_between),
		cmocka_unit_test(a_dump_that_is_cut_says_so),
		cmocka_unit_test(limits_are_kept_and_told),
		cmocka_unit_test(what_is_no_dump_is_none),
		cmocka_unit_test(names_are_made_plain),
		cmocka_unit_test(equal_goroutines_are_one_group_the_largest_first),
		cmocka_unit_test(a_function_is_named_without_its_import_path),
	};

	return cmocka_run_group_tests_name("goroutine dump", tests, NULL, NULL);
}
