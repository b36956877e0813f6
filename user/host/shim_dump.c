/* SPDX-License-Identifier: Apache-2.0 */
/* The signature of the shim's deadlock in a goroutine dump. */
#include "host/shim_dump.h"

#include <fnmatch.h>

#include "host/goroutine_dump.h"

#define CHAIN_MAX 4

/* Functions without their import path, innermost first; others may lie between. '?' is the '*'. */
struct form {
	bool lock; /* it waits for a mutex */
	const char *chain[CHAIN_MAX];
	const char *text;
};

/* By bit. `service` is lower case in the v2 shim. */
static const struct form forms[SHIM_DUMP_FORMS] = {
	{.lock = true,
	 .chain = {"*.(?Monitor).Unsubscribe", "*.(?Monitor).Wait"},
	 .text = "Monitor.Unsubscribe waits for the reaper's lock"},
	{.lock = true,
	 .chain = {"*.(?[Ss]ervice).checkProcesses", "*.(?[Ss]ervice).processExits"},
	 .text = "processExits waits for the service's lock"},
	{.lock = false,
	 .chain = {"*.(?Monitor).Wait", "*.(?Runc).Kill", "*.(?Init).KillAll",
		   "*.(?[Ss]ervice).checkProcesses"},
	 .text = "processExits waits for a `runc kill` whose exit is not delivered"},
	{.lock = true,
	 .chain = {"*.(?Monitor).Subscribe", "*.Start", "*.(?Init).KillAll",
		   "*.(?[Ss]ervice).checkProcesses"},
	 .text = "processExits waits for the reaper's lock to start `runc kill`"},
};

/* Where Reap lay; the longer path first, as the shorter one ends it. */
static const struct {
	const char *file, *version;
} places[] = {
	{"/runtime/v1/shim/reaper.go", "1.2"},
	{"/runtime/v2/shim/reaper_unix.go", "1.2"},
	{"/sys/reaper/reaper_unix.go", "1.3 or later"},
	{"/reaper/reaper.go", "1.0 or 1.1"},
};

static const char *function_of(const cJSON *frame)
{
	const char *function = json_string(frame, "function");

	return function ? function : "";
}

/* A function of the package, not a method. */
static bool is_reap(const cJSON *frame)
{
	const char *name = goroutine_function_name(function_of(frame));

	return strstr(function_of(frame), "containerd/containerd/") && endswith(name, ".Reap") &&
	       !strchr(name, '(');
}

/* The frame of Reap in goroutine 1, called from handleSignals; or NULL. */
static const cJSON *find_reap(const cJSON *summary)
{
	const cJSON *frame;

	cJSON_ArrayForEach (frame, json_at(summary, "main.frames")) {
		if (is_reap(frame))
			return frame->next && fnmatch("*.handleSignals",
						      goroutine_function_name(
							      function_of(frame->next)),
						      0) == 0
				       ? frame
				       : NULL;
		/* What Go itself does for a channel shows in some dumps; any other callee is not a send. */
		if (!startswith(function_of(frame), "runtime."))
			return NULL;
	}
	return NULL;
}

bool shim_dump_reaper_sends(const cJSON *summary)
{
	return json_u64(json_at(summary, "main"), "id") == 1 &&
	       streq_ptr(json_string(json_at(summary, "main"), "state"), "chan send") &&
	       find_reap(summary);
}

/* Newer Go says which lock; older only that it is one, also for a WaitGroup. */
static bool waits_for_mutex(const cJSON *group)
{
	const char *state = json_string(group, "state");
	const cJSON *frame;

	if (streq_ptr(state, "sync.Mutex.Lock"))
		return true;
	if (!streq_ptr(state, "semacquire"))
		return false;
	cJSON_ArrayForEach (frame, json_at(group, "frames"))
		if (streq(function_of(frame), "sync.(*Mutex).Lock") ||
		    streq(function_of(frame), "sync.runtime_SemacquireMutex"))
			return true;
	return false;
}

static bool has_chain(const cJSON *group, const char *const *chain)
{
	size_t found = 0;
	const cJSON *frame;

	cJSON_ArrayForEach (frame, json_at(group, "frames"))
		if (found < CHAIN_MAX && chain[found] &&
		    fnmatch(chain[found], goroutine_function_name(function_of(frame)), 0) == 0)
			found++;
	return found == CHAIN_MAX || !chain[found];
}

unsigned shim_dump_forms(const cJSON *summary)
{
	unsigned found = 0;
	const cJSON *group;

	cJSON_ArrayForEach (group, json_at(summary, "groups"))
		for (unsigned i = 0; i < SHIM_DUMP_FORMS; i++)
			if ((!forms[i].lock || waits_for_mutex(group)) &&
			    has_chain(group, forms[i].chain))
				found |= 1u << i;
	return found;
}

const char *shim_dump_form_text(unsigned index)
{
	return forms[index].text;
}

/* "…/containerd@v1.2.0/runtime/…", as Go names a module in its cache. */
static char *module_version(const char *file)
{
	const char *at = strstr(file, "/containerd@v");

	if (!at)
		return NULL;
	at += strlen("/containerd@v");
	size_t length = strspn(at, "0123456789.");
	return length > 0 && length <= 16 && at[length] == '/' ? strndup(at, length) : NULL;
}

char *shim_dump_version(const cJSON *summary)
{
	const char *file = json_string(find_reap(summary), "file");
	char *exact = file ? module_version(file) : NULL;

	if (exact || !file)
		return exact;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (endswith(file, places[i].file))
			return strdup(places[i].version);
	return NULL;
}
