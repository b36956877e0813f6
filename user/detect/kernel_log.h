/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the kernel_log detector, for one another alone:
 *   kernel_log.c         settings, ladder, records of the kernel
 *   kernel_log_rules.c   which lines tell a fault: the built-in rules and the operator's
 *   kernel_log_kmsg.c    lines from /dev/kmsg, where the tracepoint cannot give them
 *   kernel_log_faults.c  what the lines told so far: repeats, and when they are told
 */
#pragma once

#include "detect/detector.h"

#include "../../bpf/kernel_log.h"

#define KERNEL_RULES_MAX 64 /* of the operator; the rest of NEEDLE_RULES_MAX is for built-in ones */
#define KERNEL_PATTERN_MAX 256
#define KERNEL_DEVICE_SIZE 64
#define KERNEL_FAULTS_MAX 256

/* A line of the kernel's log. */
struct kernel_line {
	uint64_t boot_ns;
	uint32_t cpu;
	const char *text; /* LENGTH bytes, without a newline */
	size_t length;
	bool cut;
	enum { ORIGIN_UNKNOWN, ORIGIN_KERNEL, ORIGIN_PROGRAM } origin;
	int level; /* 0 (emergency) to 7 (debug); -1: not known */
};

/* --- Rules --- */

/*
 * Lines that PATTERN matches as a whole tell a fault of TYPE. In it, `*` stands for any text, and
 * `{}`, once, for the text that names what the fault is about (a device, a CPU, a server).
 */
struct kernel_rule {
	char *name, *pattern, *type;
};
extern const struct schema kernel_rule_schema;

/* A rule of this build, for lines that no program wrote. */
struct kernel_builtin {
	const char *name, *pattern, *type;
	bool clears; /* the line says that a fault of TYPE is over */
	const char *const
		*except; /* names ({}) that are no fault, ended by NULL; as in fnmatch(3) */
};
extern const struct kernel_builtin kernel_builtins[];
extern const size_t kernel_builtin_count;

struct kernel_log_settings {
	int builtin; /* whether the rules that come with the agent are in force */
	struct strings without; /* names of built-in rules */
	struct list rules; /* struct kernel_rule */
};

/* Field checks of the settings: every name is that of a built-in rule, and used once. */
int kernel_rule_names_check(const void *value, struct problem *problem);

struct kernel_match {
	const char *rule, *type;
	bool clears;
	char device[KERNEL_DEVICE_SIZE]; /* what {} stands for, up to the first space; or "" */
};

/* True if a rule of SETTINGS tells something of LINE; the operator's come first. */
bool kernel_rules_match(const struct kernel_log_settings *settings, const struct kernel_line *line,
			struct kernel_match *ret_match);

/* True if TEXT matches; then DEVICE is what {} stands for. */
bool kernel_pattern_match(const char *pattern, const char *text, size_t length,
			  char device[KERNEL_DEVICE_SIZE]);

/*
 * The needles (bpf/kernel_log.h) by which the kernel finds lines that may match PATTERN: the two
 * most telling, of different parts of it where they can be. -EINVAL: it has no NEEDLE_BYTES bytes
 * in a row.
 */
int kernel_pattern_needles(const char *pattern, uint64_t ret_needles[2]);

/* Calls TAKE for each rule in force; RULE counts them, below NEEDLE_RULES_MAX. */
void kernel_rules_needles(const struct kernel_log_settings *settings,
			  void (*take)(void *userdata, size_t rule, const uint64_t needles[2]),
			  void *userdata);

/* --- Faults --- */

struct kernel_faults;

int kernel_faults_new(struct detector_run *run, struct kernel_faults **ret_faults);
void kernel_faults_free(struct kernel_faults *faults);
DEFINE_CLEANUP(struct kernel_faults, kernel_faults_free);

/* Matches LINE against the rules, and tells what it says: at once, or later with its number. */
void kernel_faults_take(struct kernel_faults *faults, const struct kernel_line *line);

/* The same for each line of TEXT, as text that was logged at once can have several. */
void kernel_text_take(struct kernel_faults *faults, const struct kernel_line *text);

/* Tells the repeats that are due. Returns ns until more are; 0: none are held back. */
uint64_t kernel_faults_look(struct kernel_faults *faults, uint64_t boot_ns);

/* Tells everything that is held back. */
void kernel_faults_flush(struct kernel_faults *faults);

/* --- /dev/kmsg --- */

struct kmsg;

/* Starts after the lines that are there. Returns 0, or a negative errno with REASON filled. */
int kmsg_open(const struct host *host, struct kmsg **ret_kmsg, char *reason, size_t reason_size);
void kmsg_free(struct kmsg *kmsg);
DEFINE_CLEANUP(struct kmsg, kmsg_free);

typedef void (*kmsg_take)(void *userdata, const struct kernel_line *line);

/*
 * Reads new records, at most RECORDS_MAX, and hands their lines over. Returns 1 if there may be
 * more, 0 if not, or a negative errno. RET_LOST: records that were overwritten before they were
 * read.
 */
int kmsg_read(struct kmsg *kmsg, const struct clock *clock, size_t records_max, kmsg_take take,
	      void *userdata, uint64_t *ret_lost);

/*
 * One record ("6,339,5140900,-;text", Documentation/ABI/testing/dev-kmsg) of LENGTH bytes and a
 * NUL, which is changed. RET_SEQUENCE may be NULL. Returns 0 or -EBADMSG.
 */
int kmsg_parse(char *record, size_t length, struct kernel_line *ret_line, uint64_t *ret_time_us,
	       uint64_t *ret_sequence);
