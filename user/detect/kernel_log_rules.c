/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which lines of the kernel's log tell a fault. The built-in rules are few: lines of faults that no
 * other detector sees, that somebody has to act on, and that a healthy node does not log. What they
 * mean is the diagnoser's (diagnosers/kernel_line.c).
 */
#include "detect/kernel_log.h"

#include <ctype.h>
#include <fnmatch.h>

#include "base/plain.h"

/* Empty drives, and loop devices that are taken down while somebody reads, log errors as well. */
static const char *const not_disks[] = {"fd*", "sr*", "loop*", NULL};

#define RULE(rule_name, rule_pattern, rule_type, ...)                                            \
	{                                                                                        \
		.name = (rule_name), .pattern = (rule_pattern), .type = (rule_type), __VA_ARGS__ \
	}

/*
 * As the kernels 5.10 to 7.2 word them. A kernel's words change, so the patterns hold on to what
 * has stayed the same.
 */
const struct kernel_builtin kernel_builtins[] = {
	RULE("io-error", "*I/O error, dev {}, sector *", "DiskIOError", .except = not_disks),
	RULE("medium-error", "*critical medium error, dev {}, sector *", "DiskIOError",
	     .except = not_disks),
	RULE("buffer-io-error", "Buffer I/O error on dev {}, logical block *", "DiskIOError",
	     .except = not_disks),
	RULE("offline-device", "sd {}: rejecting I/O to offline device*", "DiskIOError"),
	RULE("nvme-down", "nvme {}: controller is down; will reset*", "DiskIOError"),
	RULE("raid-member-failed", "md/raid*:{}: Disk failure on *", "DiskIOError"),

	RULE("ext4-error", "EXT4-fs error (device {})*", "FilesystemError"),
	RULE("ext4-read-only", "EXT4-fs ({}): Remounting filesystem read-only*", "FilesystemError"),
	RULE("xfs-shutdown", "XFS ({}): *Shutting down filesystem*", "FilesystemError"),
	RULE("xfs-shut-down", "XFS ({}): Filesystem has been shut down*", "FilesystemError"),
	RULE("xfs-corruption", "XFS ({}): Metadata corruption detected*", "FilesystemError"),
	RULE("xfs-checksum", "XFS ({}): Metadata CRC error detected*", "FilesystemError"),
	RULE("btrfs-read-only", "BTRFS * (device {}): forced readonly*", "FilesystemError"),

	RULE("nfs-not-responding", "nfs: server {} not responding*", "NFSServerNotResponding"),
	RULE("nfs-ok", "nfs: server {} OK*", "NFSServerNotResponding", .clears = true),

	RULE("soft-lockup", "*BUG: soft lockup - CPU#{} stuck for *", "CPULockup"),
	RULE("hard-lockup", "*Watchdog detected hard LOCKUP on cpu {}", "CPULockup"),
	RULE("rcu-stall-self", "*INFO: {} self-detected stall on CPU*", "RCUStall"),
	RULE("rcu-stall", "*INFO: {} detected stalls on CPUs/tasks*", "RCUStall"),
	RULE("rcu-stall-expedited", "*INFO: {} detected expedited stalls on *", "RCUStall"),

	RULE("bug", "BUG: *", "KernelBug"),
	RULE("bug-at", "kernel BUG at *", "KernelBug"),
	RULE("oops", "Oops: * [#*", "KernelBug"),
	RULE("oops-arm64", "Internal error: * [#*", "KernelBug"),
	RULE("protection-fault", "general protection fault, *", "KernelBug"),

	RULE("memory-uncorrected", "EDAC MC*: * UE *", "HardwareError"),
	RULE("memory-failure", "Memory failure: *: Sending SIGBUS to *", "HardwareError"),
	RULE("memory-failure-page", "Memory failure: *: recovery action for *", "HardwareError"),
	RULE("machine-check", "*[Hardware Error]: *Uncorrected*", "HardwareError"),
	RULE("firmware-error", "*[Hardware Error]: event severity: fatal*", "HardwareError"),
	RULE("firmware-error-recoverable", "*[Hardware Error]: event severity: recoverable*",
	     "HardwareError"),
	RULE("pcie-error", "* {}: PCIe Bus Error: severity=Uncorrect*", "HardwareError"),

	RULE("conntrack-full", "*nf_conntrack: table full*dropping packet*", "NetworkTableFull"),
	RULE("neighbour-full", "*neighbor table overflow*", "NetworkTableFull"),
	RULE("page-allocation", "*: page allocation failure: order:0, *", "PageAllocationFailure"),
};
const size_t kernel_builtin_count = ARRAY_SIZE(kernel_builtins);
_Static_assert(ARRAY_SIZE(kernel_builtins) + KERNEL_RULES_MAX <= NEEDLE_RULES_MAX,
	       "each rule has a bit in needle_rules");

/* --- Patterns --- */

static void keep_device(const char *start, const char *end, char device[KERNEL_DEVICE_SIZE])
{
	size_t length = MIN((size_t)(end - start), (size_t)KERNEL_DEVICE_SIZE - 1);
	const char *space = memchr(start, ' ', length);

	plain_copy(device, start, space ? (size_t)(space - start) : length);
}

/*
 * Each `*` and `{}` takes as little as it can; when the text after it does not fit, the last one
 * takes a byte more. That finds a match if there is one, as what comes before the last star is
 * matched as early as possible.
 */
bool kernel_pattern_match(const char *pattern, const char *text, size_t length,
			  char device[KERNEL_DEVICE_SIZE])
{
	const char *end = text + length, *star = NULL, *star_text = NULL;
	const char *device_start = NULL, *device_end = NULL;
	bool star_is_device = false;

	device[0] = '\0';
	for (;;) {
		bool names = pattern[0] == '{' && pattern[1] == '}';

		if (*pattern == '*' || (names && text < end)) {
			star_is_device = names;
			if (names)
				device_start = text++;
			pattern += names ? 2 : 1;
			star = pattern;
			star_text = text;
			if (names)
				device_end = text;
			continue;
		}
		if (*pattern == '\0' && text == end)
			break;
		/* A NUL in the text is no end of the pattern. */
		if (text < end && *pattern && *pattern == *text) {
			pattern++;
			text++;
			continue;
		}
		if (!star || star_text >= end)
			return false;
		pattern = star;
		text = ++star_text;
		if (star_is_device)
			device_end = text;
	}
	if (device_start)
		keep_device(device_start, device_end, device);
	return true;
}

/* Capital letters, digits and signs are rarer than small letters. */
static unsigned rarity(unsigned char byte)
{
	return islower(byte) || byte == ' ' || byte == '\n' ? 1 : 2;
}

/* A place in a pattern where NEEDLE_BYTES bytes are given. */
struct place {
	size_t part, at; /* parts are what stars and {} leave between them */
	unsigned score; /* 0: nowhere */
	uint64_t needle;
};

/* The best place, or the best beside OTHER: in another part, or at least not overlapping it. */
static struct place find_needle(const char *pattern, const struct place *other)
{
	size_t length = strlen(pattern), run = 0, part = 0;
	struct place best = {};
	unsigned char window[NEEDLE_BYTES];

	/* One more at either end: a pattern that does not end with a star ends with the line. */
	for (size_t i = 0; i < length + 2; i++) {
		unsigned char byte = i == 0 || i > length ? '\n' : (unsigned char)pattern[i - 1];
		struct place place = {.part = part, .at = i};

		if (byte == '*' || (byte == '{' && pattern[i] == '}')) {
			i += byte == '{';
			run = 0;
			part++;
			continue;
		}
		memmove(window, window + 1, NEEDLE_BYTES - 1);
		window[NEEDLE_BYTES - 1] = byte;
		if (++run < NEEDLE_BYTES)
			continue;
		for (size_t at = 0; at < NEEDLE_BYTES; at++) {
			place.score += rarity(window[at]);
			place.needle = place.needle << 8 | window[at];
		}
		if (other && part == other->part &&
		    (i > other->at ? i - other->at : other->at - i) < NEEDLE_BYTES)
			continue;
		if (other && part != other->part)
			place.score += 2 * NEEDLE_BYTES; /* above all of the same part */
		if (place.score > best.score)
			best = place;
	}
	return best;
}

int kernel_pattern_needles(const char *pattern, uint64_t ret_needles[2])
{
	struct place first = find_needle(pattern, NULL), second;

	if (first.score == 0)
		return -EINVAL;
	second = find_needle(pattern, &first);
	ret_needles[0] = first.needle;
	ret_needles[1] = second.score ? second.needle : first.needle;
	return 0;
}

/* --- Settings --- */

static int check_pattern(const void *value, struct problem *problem)
{
	const char *pattern = *(char *const *)value, *device = strstr(pattern, "{}");
	uint64_t needles[2];

	if (device && strstr(device + 2, "{}"))
		return problem_set(problem, -EINVAL, "", "has {} more than once");
	if (device && (device[2] == '*' || (device > pattern && device[-1] == '*')))
		return problem_set(problem, -EINVAL, "",
				   "has a * beside its {}: what is it that {} should stand for?");
	if (kernel_pattern_needles(pattern, needles) < 0)
		return problem_set(
			problem, -EINVAL, "",
			"needs %d characters in a row without * or {}, by which the kernel "
			"can find such lines",
			NEEDLE_BYTES);
	return 0;
}

/* A type becomes a part of metrics and of what people search for. */
static int check_word(const void *value, struct problem *problem)
{
	const char *word = *(char *const *)value;

	for (; *word; word++)
		if (!isalnum((unsigned char)*word) && *word != '-' && *word != '_')
			return problem_set(problem, -EINVAL, "",
					   "may have letters, digits, - and _ alone");
	return 0;
}

static const struct field rule_fields[] = {
	SCHEMA_FIELD(struct kernel_rule, name, "name", FIELD_STRING, .required = true,
		     .maximum = 63, .check = check_word),
	SCHEMA_FIELD(struct kernel_rule, pattern, "pattern", FIELD_STRING, .required = true,
		     .maximum = KERNEL_PATTERN_MAX, .check = check_pattern),
	SCHEMA_FIELD(struct kernel_rule, type, "type", FIELD_STRING, .maximum = 63,
		     .check = check_word),
};
const struct schema kernel_rule_schema =
	SCHEMA("rule", struct kernel_rule, rule_fields, .extra_offset = SCHEMA_STRICT);

int kernel_rule_names_check(const void *value, struct problem *problem)
{
	const struct strings *names = value;

	for (size_t i = 0; i < names->count; i++) {
		bool known = false;

		for (size_t at = 0; at < kernel_builtin_count && !known; at++)
			known = streq(kernel_builtins[at].name, names->items[i]);
		if (!known)
			return problem_set(problem, -EINVAL, "",
					   "there is no built-in rule \"%s\"; docs/detectors.md "
					   "lists them",
					   names->items[i]);
	}
	return 0;
}

/* --- All rules --- */

static bool in_force(const struct kernel_log_settings *settings,
		     const struct kernel_builtin *builtin)
{
	return settings->builtin && !strings_contain(&settings->without, builtin->name);
}

void kernel_rules_needles(const struct kernel_log_settings *settings,
			  void (*take)(void *userdata, size_t rule, const uint64_t needles[2]),
			  void *userdata)
{
	const struct kernel_rule *rules = settings->rules.items;
	uint64_t needles[2];
	size_t rule = 0;

	for (size_t i = 0; i < settings->rules.count; i++)
		if (kernel_pattern_needles(rules[i].pattern, needles) == 0)
			take(userdata, rule++, needles);
	for (size_t i = 0; i < kernel_builtin_count; i++)
		if (in_force(settings, &kernel_builtins[i]) &&
		    kernel_pattern_needles(kernel_builtins[i].pattern, needles) == 0)
			take(userdata, rule++, needles);
}

static bool excepted(const struct kernel_builtin *builtin, const char *device)
{
	for (const char *const *name = builtin->except; name && *name; name++)
		if (fnmatch(*name, device, 0) == 0)
			return true;
	return false;
}

bool kernel_rules_match(const struct kernel_log_settings *settings, const struct kernel_line *line,
			struct kernel_match *ret_match)
{
	const struct kernel_rule *rules = settings->rules.items;
	struct kernel_match match = {};

	for (size_t i = 0; i < settings->rules.count; i++) {
		if (!kernel_pattern_match(rules[i].pattern, line->text, line->length, match.device))
			continue;
		match.rule = rules[i].name;
		match.type = rules[i].type ? rules[i].type : "KernelLog";
		*ret_match = match;
		return true;
	}
	/* What a program wrote into the kernel's log is not the kernel's word. */
	for (size_t i = 0; i < kernel_builtin_count && line->origin != ORIGIN_PROGRAM; i++) {
		const struct kernel_builtin *builtin = &kernel_builtins[i];

		if (!in_force(settings, builtin) ||
		    !kernel_pattern_match(builtin->pattern, line->text, line->length,
					  match.device) ||
		    excepted(builtin, match.device))
			continue;
		match.rule = builtin->name;
		match.type = builtin->type;
		match.clears = builtin->clears;
		*ret_match = match;
		return true;
	}
	return false;
}
