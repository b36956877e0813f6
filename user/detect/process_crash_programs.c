/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who crashed before. The first crashes of a program in its place are findings of their own, quiet
 * ones; when they are too many within the window it is a loop, which is another fault, as it is
 * handled otherwise: it has a subject of its own, and tells its rate. In a loop one finding a second
 * stands for all crashes of it.
 */
#include "detect/process_crash.h"

#include <inttypes.h>

#define TELL_NS NS_PER_S
/* The last crash is kept so long to tell those without a record, which the kernel counts. */
#define LINGER_NS (3 * NS_PER_S)

struct crash_programs {
	struct crash_programs_options options;
	struct crashed_program items[CRASHED_PROGRAMS_MAX];
	size_t count;
};

int crash_programs_new(const struct crash_programs_options *options,
		       struct crash_programs **ret_programs)
{
	struct crash_programs *programs = calloc(1, sizeof(*programs));

	if (!programs)
		return -ENOMEM;
	programs->options = *options;
	*ret_programs = programs;
	return 0;
}

void crash_programs_free(struct crash_programs *programs)
{
	if (!programs)
		return;
	for (size_t i = 0; i < programs->count; i++) {
		free(programs->items[i].subject);
		cJSON_Delete(programs->items[i].latest);
	}
	free(programs);
}

/* --- Counting --- */

static uint64_t bucket_ns(const struct crash_programs *programs)
{
	return programs->options.settings->loop_window_ns / CRASH_BUCKETS;
}

static void count_crashes(const struct crash_programs *programs, struct crashed_program *program,
			  uint64_t boot_ns, uint64_t count)
{
	uint64_t number = boot_ns / bucket_ns(programs);
	size_t index = number % CRASH_BUCKETS, shown = MIN(count, (uint64_t)CRASH_TIMES);

	if (program->buckets[index].number != number) {
		program->buckets[index].number = number;
		program->buckets[index].count = 0;
	}
	program->buckets[index].count += count;
	memmove(program->times_ns + shown, program->times_ns,
		(CRASH_TIMES - shown) * sizeof(program->times_ns[0]));
	for (size_t i = 0; i < shown; i++)
		program->times_ns[i] = boot_ns;
	program->first_ns = program->first_ns ? program->first_ns : boot_ns;
	program->last_ns = MAX(program->last_ns, boot_ns);
	program->untold += count;
}

/* Crashes within the window that ends with the last one, and since when they are counted. */
static uint64_t crashes_in_window(const struct crash_programs *programs,
				  const struct crashed_program *program, uint64_t *ret_since_ns)
{
	uint64_t last = program->last_ns / bucket_ns(programs), count = 0, first = last;

	for (size_t i = 0; i < CRASH_BUCKETS; i++) {
		if (!program->buckets[i].count ||
		    program->buckets[i].number + CRASH_BUCKETS <= last)
			continue;
		count += program->buckets[i].count;
		first = MIN(first, program->buckets[i].number);
	}
	*ret_since_ns = MAX(first * bucket_ns(programs), program->first_ns);
	return count;
}

/* --- Telling --- */

static cJSON *intervals_json(const struct crashed_program *program)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i + 1 < CRASH_TIMES && program->times_ns[i + 1]; i++) {
		uint64_t interval_ns =
			program->times_ns[i] - MIN(program->times_ns[i], program->times_ns[i + 1]);
		cJSON *item = cJSON_CreateNumber((double)(interval_ns / NS_PER_MS) / 1000);

		if (!item || !cJSON_AddItemToArray(list, item)) {
			cJSON_Delete(item);
			return NULL;
		}
	}
	return TAKE_PTR(list);
}

/*
 * Crashes a minute: over the crashes whose times are known, while these are all, and over the whole
 * window when there are more.
 */
static double rate_per_minute(const struct crashed_program *program, uint64_t crashes,
			      uint64_t since_ns)
{
	uint64_t oldest_ns = since_ns, intervals = crashes > 1 ? crashes - 1 : 1;

	if (crashes <= CRASH_TIMES && program->times_ns[crashes - 1])
		oldest_ns = program->times_ns[crashes - 1];
	/* A burst shorter than a second says little of a minute. */
	double seconds =
		(double)MAX(program->last_ns - MIN(program->last_ns, oldest_ns), NS_PER_S) /
		(double)NS_PER_S;
	return (double)(uint64_t)((double)intervals / seconds * 600) / 10;
}

static int set_loop(const struct crash_programs *programs, const struct crashed_program *program,
		    cJSON *event)
{
	cJSON *details = json_at(event, "details");
	uint64_t since_ns, crashes = crashes_in_window(programs, program, &since_ns);

	if (json_set_string(event, "type", "CrashLoop") < 0 ||
	    json_set_number(details, "crashes", (double)crashes) < 0 ||
	    json_set_number(details, "windowSeconds",
			    (double)(programs->options.settings->loop_window_ns / NS_PER_S)) < 0 ||
	    json_set_number(details, "ratePerMinute", rate_per_minute(program, crashes, since_ns)) <
		    0)
		return -ENOMEM;
	return json_set(details, "intervals", intervals_json(program));
}

static char *subject_text(const struct crashed_program *program)
{
	char *text;

	if (!program->looping)
		return strdup(program->subject);
	return asprintf(&text, "crash loop of %s", program->subject) < 0 ? NULL : text;
}

static void report(struct crash_programs *programs, struct crashed_program *program)
{
	_cleanup_json_ cJSON *event = cJSON_Duplicate(program->latest, true);
	_cleanup_free_ char *subject = subject_text(program);

	if (!event || !subject || json_set_number(event, "count", (double)program->untold) < 0 ||
	    (program->looping && set_loop(programs, program, event) < 0)) {
		log_error("could not report %" PRIu64 " crashes of %s: out of memory",
			  program->untold, program->subject);
		return;
	}
	struct finding finding = {
		.detector = programs->options.run->detector->name,
		.type = program->looping ? "CrashLoop" : "ProcessCrash",
		.subject = TAKE_PTR(subject),
		.event = TAKE_PTR(event),
		/* Crashes that the kernel only counted have none. */
		.record = program->record ? program->record : FINDING_NO_RECORD,
	};

	program->record = 0;
	program->untold = 0;
	program->told_ns = program->last_ns;
	detector_report(programs->options.run, &finding);
}

/* The ring keeps the records of crashes that no finding stands for yet. */
static void keep_untold(const struct crash_programs *programs)
{
	for (size_t i = 0; i < programs->count; i++)
		if (programs->items[i].untold) {
			detector_hold(programs->options.run);
			return;
		}
	detector_told(programs->options.run);
}

/* No crash for a whole window: whoever waits for the end of the loop is told. */
static void report_end(struct crash_programs *programs, struct crashed_program *program,
		       uint64_t boot_ns)
{
	_cleanup_free_ char *subject = subject_text(program);
	cJSON *event = event_json(programs->options.run, "Cleared", boot_ns, 0);

	program->looping = false;
	if (!event || !subject) {
		cJSON_Delete(event);
		log_error("could not report that the crashes of %s are over: out of memory",
			  program->subject);
		return;
	}
	struct finding finding = {
		.detector = programs->options.run->detector->name,
		.type = "Cleared",
		.cleared = true,
		.subject = TAKE_PTR(subject),
		.event = event,
	};

	detector_report(programs->options.run, &finding);
}

/* After crashes were counted: what is due at once is told. */
static void judge(struct crash_programs *programs, struct crashed_program *program)
{
	uint64_t since_ns, crashes = crashes_in_window(programs, program, &since_ns);
	bool begins =
		!program->looping && crashes >= (uint64_t)programs->options.settings->loop_crashes;

	if (begins) {
		program->looping = true;
		/* The loop is all of them, also those that were told as single crashes. */
		program->untold = crashes;
	}
	if (begins || !program->looping || program->last_ns >= program->told_ns + TELL_NS)
		report(programs, program);
}

/*
 * Takes the crashes that the kernel counted without a record. Only who crashed just now can have
 * any: a program has its first records of every second.
 */
static void take_folded(struct crash_programs *programs, struct crashed_program *program,
			uint64_t boot_ns)
{
	if (!program->latest)
		return;
	uint64_t folded = programs->options.read_folded(programs->options.userdata, &program->key);
	/* The kernel forgets whom it has not seen for long, and begins anew. */
	uint64_t more = folded >= program->folded_seen ? folded - program->folded_seen : folded;

	program->folded_seen = folded;
	if (!more)
		return;
	if (programs->options.write_told)
		programs->options.write_told(programs->options.userdata, &program->key, folded);
	count_crashes(programs, program, boot_ns, more);
	judge(programs, program);
}

/* --- The table --- */

static void forget(struct crash_programs *programs, struct crashed_program *program)
{
	take_folded(programs, program, program->last_ns);
	if (program->untold)
		report(programs, program);
	free(program->subject);
	cJSON_Delete(program->latest);
	*program = (struct crashed_program){};
}

static struct crashed_program *find(struct crash_programs *programs, const char *subject)
{
	for (size_t i = 0; i < programs->count; i++)
		if (streq(programs->items[i].subject, subject))
			return &programs->items[i];
	return NULL;
}

/* A new entry; when the table is full, in place of the one that has not crashed for longest. */
static struct crashed_program *take_place(struct crash_programs *programs)
{
	struct crashed_program *oldest = &programs->items[0];

	if (programs->count < CRASHED_PROGRAMS_MAX)
		return &programs->items[programs->count];
	for (size_t i = 1; i < programs->count; i++)
		if (programs->items[i].last_ns < oldest->last_ns)
			oldest = &programs->items[i];
	forget(programs, oldest);
	return oldest;
}

static struct crashed_program *obtain(struct crash_programs *programs, const char *subject)
{
	struct crashed_program *program = find(programs, subject);
	char *copy;

	if (program)
		return program;
	copy = strdup(subject);
	if (!copy)
		return NULL;
	program = take_place(programs);
	if (program == &programs->items[programs->count])
		programs->count++;
	program->subject = copy;
	return program;
}

int crash_programs_add(struct crash_programs *programs, const char *subject,
		       const struct crash_program *key, uint64_t boot_ns, cJSON *event)
{
	struct crashed_program *program = obtain(programs, subject);

	if (!program) {
		cJSON_Delete(event);
		return -ENOMEM;
	}
	/* Started again, a container has another cgroup, and the kernel counts for that. */
	if (memcmp(&program->key, key, sizeof(*key)) != 0) {
		take_folded(programs, program, boot_ns);
		program->key = *key;
		program->folded_seen =
			programs->options.read_told
				? programs->options.read_told(programs->options.userdata, key)
				: 0;
	}
	cJSON_Delete(program->latest);
	program->latest = event;
	program->record = detector_record(programs->options.run);
	count_crashes(programs, program, boot_ns, 1);
	judge(programs, program);
	keep_untold(programs);
	return 0;
}

/* Returns ns until this program wants another look; 0: not before it crashes again. */
static uint64_t look_at(struct crash_programs *programs, struct crashed_program *program,
			uint64_t boot_ns)
{
	uint64_t window_ns = programs->options.settings->loop_window_ns;

	take_folded(programs, program, boot_ns);
	if (program->untold && boot_ns >= program->told_ns + TELL_NS)
		report(programs, program);
	if (program->untold || boot_ns < program->last_ns + LINGER_NS)
		return TELL_NS;
	cJSON_Delete(program->latest);
	program->latest = NULL;
	if (!program->looping)
		return 0;
	if (boot_ns < program->last_ns + window_ns)
		return program->last_ns + window_ns - boot_ns;
	report_end(programs, program, boot_ns);
	return 0;
}

uint64_t crash_programs_look(struct crash_programs *programs, uint64_t boot_ns)
{
	uint64_t soonest_ns = 0;

	for (size_t i = 0; i < programs->count; i++) {
		struct crashed_program *program = &programs->items[i];

		if (!program->latest && !program->looping)
			continue;
		uint64_t delay_ns = look_at(programs, program, boot_ns);

		if (delay_ns && (!soonest_ns || delay_ns < soonest_ns))
			soonest_ns = delay_ns;
	}
	keep_untold(programs);
	return soonest_ns;
}

void crash_programs_flush(struct crash_programs *programs, uint64_t boot_ns)
{
	for (size_t i = 0; programs && i < programs->count; i++) {
		take_folded(programs, &programs->items[i], boot_ns);
		if (programs->items[i].untold)
			report(programs, &programs->items[i]);
	}
}
