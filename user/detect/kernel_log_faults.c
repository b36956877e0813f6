/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's lines told so far. A broken disk logs thousands of lines, so the first line
 * about a thing is told at once, and further ones at most every ten seconds with their number.
 */
#include "detect/kernel_log.h"

#define REPEAT_NS (10 * NS_PER_S)
#define TOLD_AT_ONCE 64 /* new faults in that time; more are held back as repeats are */

/* What lines of one type say about one device. */
struct fault {
	char *subject;
	struct kernel_match match; /* of the latest line */
	char *text; /* the latest line */
	struct kernel_line line; /* the same, without its text */
	uint64_t first_ns, told_ns;
	uint64_t lines, untold;
	uint64_t record; /* of the latest line */
	bool held; /* nothing of it has been told yet */
};

struct kernel_faults {
	struct detector_run *run;
	struct fault *items;
	size_t count;
	uint64_t window_ns; /* when the time began in which */
	unsigned window_told; /* so many were told at once */
	bool look_comes; /* for what is held back */
};

int kernel_faults_new(struct detector_run *run, struct kernel_faults **ret_faults)
{
	struct kernel_faults *faults = calloc(1, sizeof(*faults));

	if (!faults)
		return -ENOMEM;
	faults->run = run;
	faults->items = calloc(KERNEL_FAULTS_MAX, sizeof(*faults->items));
	if (!faults->items) {
		free(faults);
		return -ENOMEM;
	}
	*ret_faults = faults;
	return 0;
}

static void fault_clear(struct fault *fault)
{
	free(fault->subject);
	free(fault->text);
	*fault = (struct fault){};
}

void kernel_faults_free(struct kernel_faults *faults)
{
	if (!faults)
		return;
	for (size_t i = 0; i < faults->count; i++)
		fault_clear(&faults->items[i]);
	free(faults->items);
	free(faults);
}

/* --- Findings --- */

static cJSON *details_json(const struct fault *fault)
{
	_cleanup_json_ cJSON *details = cJSON_CreateObject();
	const struct kernel_line *line = &fault->line;

	if (!details || json_set_string(details, "rule", fault->match.rule) < 0 ||
	    json_set_string(details, "line", fault->text) < 0 ||
	    json_set_number(details, "lines", (double)fault->lines) < 0)
		return NULL;
	if (fault->match.device[0] && json_set_string(details, "device", fault->match.device) < 0)
		return NULL;
	if (line->cut && json_set_bool(details, "cut", true) < 0)
		return NULL;
	if (line->level >= 0 && json_set_number(details, "level", line->level) < 0)
		return NULL;
	if (line->origin != ORIGIN_UNKNOWN &&
	    json_set_string(details, "writer",
			    line->origin == ORIGIN_KERNEL ? "kernel" : "program") < 0)
		return NULL;
	return TAKE_PTR(details);
}

/* The ring need not keep the lines of FAULT any more; nor any, if all others have been told of. */
static void release(struct kernel_faults *faults, struct fault *fault)
{
	if (!fault->held)
		return;
	fault->held = false;
	for (size_t i = 0; i < faults->count; i++)
		if (faults->items[i].held)
			return;
	detector_told(faults->run);
}

static int tell(struct kernel_faults *faults, struct fault *fault)
{
	const char *type = fault->match.clears ? "Cleared" : fault->match.type;
	struct finding finding = {
		.detector = faults->run->detector->name,
		.type = type,
		.cleared = fault->match.clears,
		.subject = strdup(fault->subject),
		.event = event_json(faults->run, type, fault->line.boot_ns, fault->line.cpu),
		.record = fault->record,
	};

	if (!finding.subject || !finding.event ||
	    json_set_number(finding.event, "count", (double)fault->untold) < 0 ||
	    json_set(finding.event, "details", details_json(fault)) < 0) {
		finding_clear(&finding);
		return -ENOMEM;
	}
	fault->untold = 0;
	fault->told_ns = fault->line.boot_ns;
	detector_report(faults->run, &finding);
	release(faults, fault);
	return 0;
}

static void tell_untold(struct kernel_faults *faults, struct fault *fault)
{
	if (fault->untold > 0 && tell(faults, fault) < 0)
		log_error("could not report what the kernel logged of %s: out of memory",
			  fault->subject);
}

/* --- Lines --- */

static void forget(struct kernel_faults *faults, struct fault *fault)
{
	release(faults, fault);
	fault_clear(fault);
	*fault = faults->items[--faults->count];
	faults->items[faults->count] = (struct fault){};
}

static struct fault *find(struct kernel_faults *faults, const char *subject)
{
	for (size_t i = 0; i < faults->count; i++)
		if (streq(faults->items[i].subject, subject))
			return &faults->items[i];
	return NULL;
}

/* A rule's {} may stand for something that is never twice the same, such as a pid. */
static bool may_tell_at_once(struct kernel_faults *faults, uint64_t boot_ns)
{
	if (boot_ns - faults->window_ns >= REPEAT_NS) {
		faults->window_ns = boot_ns;
		faults->window_told = 0;
	}
	return faults->window_told++ < TOLD_AT_ONCE;
}

/* The one that was heard of longest ago gives way. */
static struct fault *add(struct kernel_faults *faults, uint64_t boot_ns, char *subject)
{
	if (faults->count == KERNEL_FAULTS_MAX) {
		struct fault *oldest = &faults->items[0];

		for (size_t i = 1; i < faults->count; i++)
			if (faults->items[i].line.boot_ns < oldest->line.boot_ns)
				oldest = &faults->items[i];
		if (oldest->untold > 0 && !may_tell_at_once(faults, boot_ns))
			faults->run->lost += oldest->untold;
		else
			tell_untold(faults, oldest);
		forget(faults, oldest);
	}
	struct fault *fault = &faults->items[faults->count++];

	*fault = (struct fault){.subject = subject, .first_ns = boot_ns};
	return fault;
}

static int take(struct kernel_faults *faults, const struct kernel_line *line,
		const struct kernel_match *match)
{
	_cleanup_free_ char *text = event_text(line->text, line->length), *subject = NULL;

	if (!text || asprintf(&subject, "%s%s%s", match->type, *match->device ? " of " : "",
			      match->device) < 0) {
		subject = NULL;
		return -ENOMEM;
	}
	struct fault *fault = find(faults, subject);
	bool first = !fault;

	if (first)
		fault = add(faults, line->boot_ns, TAKE_PTR(subject));
	free(fault->text);
	fault->text = TAKE_PTR(text);
	fault->line = *line;
	fault->line.text = NULL;
	fault->match = *match;
	fault->lines++;
	fault->untold++;
	fault->record = detector_record(faults->run);
	if (first && !match->clears && !may_tell_at_once(faults, line->boot_ns)) {
		fault->told_ns = line->boot_ns;
		fault->held = true;
		detector_hold(faults->run);
	} else if (first || match->clears || line->boot_ns - fault->told_ns >= REPEAT_NS) {
		int r = tell(faults, fault);

		if (match->clears)
			forget(faults, fault);
		return r;
	}
	/* Not later than it is to come already: repeats may never end. */
	if (!faults->look_comes)
		detector_look_in(faults->run, REPEAT_NS);
	faults->look_comes = true;
	return 0;
}

void kernel_faults_take(struct kernel_faults *faults, const struct kernel_line *line)
{
	struct kernel_match match;

	if (kernel_rules_match(faults->run->settings, line, &match) &&
	    take(faults, line, &match) < 0)
		log_error("could not report a line of the kernel's log: out of memory");
}

void kernel_text_take(struct kernel_faults *faults, const struct kernel_line *whole)
{
	const char *end = whole->text + whole->length;
	struct kernel_line line = *whole;

	for (;;) {
		const char *newline = memchr(line.text, '\n', (size_t)(end - line.text));

		line.length = (size_t)((newline ? newline : end) - line.text);
		if (line.length > 0)
			kernel_faults_take(faults, &line);
		if (!newline)
			return;
		line.text = newline + 1;
	}
}

uint64_t kernel_faults_look(struct kernel_faults *faults, uint64_t boot_ns)
{
	uint64_t next_ns = 0;

	for (size_t i = 0; i < faults->count; i++) {
		struct fault *fault = &faults->items[i];
		uint64_t due_ns = fault->told_ns + REPEAT_NS;

		if (fault->untold == 0)
			continue;
		if (due_ns <= boot_ns) {
			tell_untold(faults, fault);
			continue;
		}
		next_ns = next_ns ? MIN(next_ns, due_ns - boot_ns) : due_ns - boot_ns;
	}
	faults->look_comes = next_ns > 0;
	return next_ns;
}

void kernel_faults_flush(struct kernel_faults *faults)
{
	for (size_t i = 0; faults && i < faults->count; i++)
		tell_untold(faults, &faults->items[i]);
}
