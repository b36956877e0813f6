/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenMetrics 1.0 text: each family once, with its type, its unit where it has one, and help; the
 * samples of a counter end in _total; the last line is # EOF.
 */
#include "api/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/resource.h>

#include "base/file.h"
#include "base/json.h"

/* --- Endings --- */

static const char *ending_rule(const struct abnormal *abnormal)
{
	const struct abnormal_spec *spec = &abnormal->spec;

	if (spec->kernel_event && spec->kernel_event->detector)
		return spec->kernel_event->detector;
	if (spec->node_probe && spec->node_probe->name)
		return spec->node_probe->name;
	const char *alert = spec->prometheus_alert
				    ? json_string(spec->prometheus_alert->labels, "alertname")
				    : NULL;
	return alert ? alert : "";
}

static bool ended_since(const struct abnormal *abnormal, int64_t since_realtime_ns)
{
	const struct list *conditions = &abnormal->status.conditions;
	const struct condition *items = conditions->items;

	for (size_t i = 0; i < conditions->count; i++)
		if (items[i].last_transition_time != TIME_ABSENT &&
		    items[i].last_transition_time >= since_realtime_ns)
			return true;
	return conditions->count == 0;
}

/* FNV-1a over the uid, or namespace and name where it has none. */
static uint64_t identity_hash(const struct abnormal *abnormal)
{
	const struct metadata *metadata = &abnormal->metadata;
	const char *parts[] = {metadata->uid, metadata->uid ? NULL : metadata->namespace,
			       metadata->uid ? NULL : metadata->name};
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		for (const char *p = parts[i] ? parts[i] : ""; *p; p++)
			hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
	return hash ? hash : 1;
}

static bool remembered(struct metrics_endings *endings, uint64_t hash)
{
	for (size_t i = 0; i < ENDINGS_REMEMBERED; i++)
		if (endings->remembered[i] == hash)
			return true;
	endings->remembered[endings->next] = hash;
	endings->next = (endings->next + 1) % ENDINGS_REMEMBERED;
	return false;
}

static void ending_clear(struct ending *ending)
{
	free(ending->phase);
	free(ending->reason);
	free(ending->source);
	free(ending->rule);
}

static int ending_append(struct metrics_endings *endings, const char *phase, const char *reason,
			 const char *source, const char *rule)
{
	struct ending *items = realloc(endings->items, (endings->count + 1) * sizeof(*items));
	struct ending ending = {.phase = strdup(phase),
				.reason = strdup(reason),
				.source = strdup(source),
				.rule = strdup(rule),
				.count = 1};

	if (items)
		endings->items = items;
	if (!items || !ending.phase || !ending.reason || !ending.source || !ending.rule) {
		ending_clear(&ending);
		return -ENOMEM;
	}
	items[endings->count++] = ending;
	return 0;
}

int metrics_endings_add(struct metrics_endings *endings, const struct abnormal *abnormal,
			int64_t since_realtime_ns)
{
	const char *phase = abnormal_phase_names[abnormal->status.phase],
		   *rule = ending_rule(abnormal);
	const char *reason = abnormal->status.reason ? abnormal->status.reason : "";
	const char *source = abnormal_source_names[abnormal->spec.source];

	if (!ended_since(abnormal, since_realtime_ns) ||
	    remembered(endings, identity_hash(abnormal)))
		return 0;
	for (size_t i = 0; i < endings->count; i++) {
		struct ending *ending = &endings->items[i];

		if (streq(ending->phase, phase) && streq(ending->reason, reason) &&
		    streq(ending->source, source) && streq(ending->rule, rule)) {
			ending->count++;
			return 0;
		}
	}
	if (endings->count == ENDINGS_MAX) {
		endings->other++;
		return 0;
	}
	return ending_append(endings, phase, reason, source, rule);
}

void metrics_endings_clear(struct metrics_endings *endings)
{
	for (size_t i = 0; i < endings->count; i++)
		ending_clear(&endings->items[i]);
	free(endings->items);
	*endings = (struct metrics_endings){0};
}

/* --- The process --- */

static uint64_t open_files(void)
{
	DIR *folder = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (!folder)
		return 0;
	while (readdir(folder))
		count++;
	closedir(folder);
	return count > 3 ? count - 3 : 0; /* ".", ".." and the folder itself */
}

static double seconds_of(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void metrics_process_read(struct metrics_process *ret_process, int64_t start_realtime_ns)
{
	_cleanup_free_ char *statm = NULL;
	unsigned long resident_pages = 0;
	struct rusage usage = {0};
	size_t length;

	if (file_read(AT_FDCWD, "/proc/self/statm", 256, &statm, &length) == 0 &&
	    sscanf(statm, "%*u %lu", &resident_pages) != 1)
		resident_pages = 0;
	getrusage(RUSAGE_SELF, &usage);
	*ret_process = (struct metrics_process){
		.resident_bytes = (uint64_t)resident_pages * (uint64_t)sysconf(_SC_PAGESIZE),
		.open_files = open_files(),
		.cpu_seconds = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime),
		.start_time_seconds = (double)start_realtime_ns / 1e9,
	};
}

/* --- The text --- */

/* The first error stays, so that a family needs no check of its own. */
struct writer {
	struct buffer *text;
	int error;
};

static void put(struct writer *writer, const char *text)
{
	if (writer->error == 0)
		writer->error = buffer_append_text(writer->text, text);
}

static void put_family(struct writer *writer, const char *name, const char *type, const char *unit,
		       const char *help)
{
	const char *const parts[] = {"# TYPE ", name, " ", type, "\n"};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		put(writer, parts[i]);
	if (unit && writer->error == 0)
		writer->error = buffer_printf(writer->text, "# UNIT %s %s\n", name, unit);
	if (writer->error == 0)
		writer->error = buffer_printf(writer->text, "# HELP %s %s\n", name, help);
}

static void put_label_value(struct writer *writer, const char *value)
{
	for (; *value && writer->error == 0; value++) {
		if (*value == '\n')
			put(writer, "\\n");
		else if (*value == '"' || *value == '\\')
			writer->error = buffer_printf(writer->text, "\\%c", *value);
		else
			writer->error = buffer_append(writer->text, value, 1);
	}
}

/* LABELS: name, value, name, value, … NULL; or NULL. */
static void put_sample(struct writer *writer, const char *name, const char *const *labels,
		       double value)
{
	put(writer, name);
	for (size_t i = 0; labels && labels[i]; i += 2) {
		put(writer, i ? "," : "{");
		put(writer, labels[i]);
		put(writer, "=\"");
		put_label_value(writer, labels[i + 1] ? labels[i + 1] : "");
		put(writer, "\"");
	}
	if (labels && labels[0])
		put(writer, "}");
	/*
	 * %.17g keeps every count below 2^53 whole and prints no superfluous digits for small
	 * fractions.
	 */
	if (writer->error == 0)
		writer->error =
			value == (double)(uint64_t)value
				? buffer_printf(writer->text, " %" PRIu64 "\n", (uint64_t)value)
				: buffer_printf(writer->text, " %.9g\n", value);
}

#define LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

struct simple {
	const char *label;
	uint64_t value;
};

/* One counter family split by one label. */
static void put_counters(struct writer *writer, const char *family, const char *help,
			 const char *label, const struct simple *items, size_t count)
{
	char name[128];

	put_family(writer, family, "counter", NULL, help);
	snprintf(name, sizeof(name), "%s_total", family);
	for (size_t i = 0; i < count; i++)
		put_sample(writer, name, label ? LABELS(label, items[i].label) : NULL,
			   (double)items[i].value);
}

static void put_counter(struct writer *writer, const char *family, const char *help, uint64_t value)
{
	const struct simple item = {NULL, value};

	put_counters(writer, family, help, NULL, &item, 1);
}

static void put_gauge(struct writer *writer, const char *family, const char *unit, const char *help,
		      double value)
{
	put_family(writer, family, "gauge", unit, help);
	put_sample(writer, family, NULL, value);
}

static void render_abnormals(struct writer *writer, const struct metrics_input *input)
{
	const struct pipeline_counts *counts = input->pipeline;
	const struct simple sightings[] = {{"created", counts->created},
					   {"folded", counts->folded},
					   {"cooldown", counts->in_cooldown},
					   {"refused", counts->refused}};
	const struct simple actions[] = {{"done", counts->actions_done},
					 {"failed", counts->actions_failed},
					 {"refused", counts->actions_refused},
					 {"dry_run", counts->actions_dry_run}};

	put_family(writer, "lifeboat_abnormals", "counter", NULL,
		   "Abnormals that ended, by phase and reason.");
	for (size_t i = 0; i < input->endings->count; i++) {
		const struct ending *ending = &input->endings->items[i];

		put_sample(writer, "lifeboat_abnormals_total",
			   LABELS("phase", ending->phase, "reason", ending->reason, "source",
				  ending->source, "rule", ending->rule),
			   (double)ending->count);
	}
	if (input->endings->other)
		put_sample(writer, "lifeboat_abnormals_total",
			   LABELS("phase", "other", "reason", "other", "source", "other", "rule",
				  "other"),
			   (double)input->endings->other);
	put_gauge(writer, "lifeboat_abnormals_live", NULL, "Abnormals that have not ended.",
		  (double)counts->live);
	put_gauge(writer, "lifeboat_abnormals_waiting", NULL,
		  "Live Abnormals that wait for their turn.", (double)counts->waiting);
	put_counters(writer, "lifeboat_sightings", "Sightings of faults, by what became of them.",
		     "result", sightings, ARRAY_SIZE(sightings));
	put_counter(writer, "lifeboat_transitions", "Steps of the state machine.",
		    counts->transitions);
	put_counters(writer, "lifeboat_actions", "Actions of recoverers.", "outcome", actions,
		     ARRAY_SIZE(actions));
}

static void render_calls(struct writer *writer, const struct call_counts *counts)
{
	const struct simple calls[] = {
		{"recognised", counts->recognised},
		{"not_mine", counts->not_mine},
		{"error", counts->errors},
	};

	put_counters(writer, "lifeboat_plugin_calls", "Calls of plug-ins, by verdict.", "verdict",
		     calls, ARRAY_SIZE(calls));
	put_counter(writer, "lifeboat_plugin_timeouts",
		    "Calls of plug-ins that ran out of time (errors too).", counts->timeouts);
	put_gauge(writer, "lifeboat_plugin_calls_running", NULL, "Calls that run now.",
		  (double)counts->running);
	put_gauge(writer, "lifeboat_plugin_calls_waiting", NULL,
		  "Calls that wait for a free place.", (double)counts->waiting);
	put_gauge(writer, "lifeboat_plugin_calls_abandoned", NULL,
		  "Killed calls that the kernel has not let go yet.", (double)counts->abandoned);
}

static void render_detector_counter(struct writer *writer, const cJSON *detectors,
				    const char *family, const char *help, const char *member)
{
	const cJSON *detector;
	char name[128];

	put_family(writer, family, "counter", NULL, help);
	snprintf(name, sizeof(name), "%s_total", family);
	cJSON_ArrayForEach (detector, detectors) {
		put_sample(writer, name, LABELS("detector", json_string(detector, "name")),
			   json_number(detector, member, 0));
	}
}

static void render_detectors(struct writer *writer, const cJSON *detectors)
{
	static const char *const states[] = {"active", "degraded", "unsupported", "disabled"};
	const cJSON *detector;

	put_family(writer, "lifeboat_detector_status", "stateset", NULL,
		   "What state each detector is in.");
	cJSON_ArrayForEach (detector, detectors) {
		const char *status = json_string(detector, "status");

		for (size_t i = 0; i < ARRAY_SIZE(states); i++)
			put_sample(writer, "lifeboat_detector_status",
				   LABELS("detector", json_string(detector, "name"),
					  "lifeboat_detector_status", states[i]),
				   status && streq(status, states[i]));
	}
	render_detector_counter(writer, detectors, "lifeboat_detector_events",
				"Records that came from the kernel.", "events");
	render_detector_counter(writer, detectors, "lifeboat_detector_lost",
				"Records that the kernel could not hand over.", "lost");
	render_detector_counter(writer, detectors, "lifeboat_detector_looks", "Periodic looks.",
				"looks");
	put_family(writer, "lifeboat_detector_look_seconds", "counter", "seconds",
		   "Time spent in periodic looks.");
	cJSON_ArrayForEach (detector, detectors) {
		put_sample(writer, "lifeboat_detector_look_seconds_total",
			   LABELS("detector", json_string(detector, "name")),
			   json_number(detector, "lookNanoseconds", 0) / 1e9);
	}
}

static void render_ring(struct writer *writer, const struct metrics_input *input)
{
	put_counter(writer, "lifeboat_ring_malformed",
		    "Records from the kernel that were not what their header said.",
		    input->malformed);
}

static void render_store(struct writer *writer, const struct metrics_input *input)
{
	static const char *const media[] = {"opening", "disk", "memory"};
	const struct store_counts *counts = input->store;

	put_family(writer, "lifeboat_store_medium", "stateset", NULL,
		   "Where Abnormals are kept; in memory they do not survive the agent.");
	for (size_t i = 0; i < ARRAY_SIZE(media); i++)
		put_sample(writer, "lifeboat_store_medium",
			   LABELS("lifeboat_store_medium", media[i]),
			   streq(media[i], input->store_medium));
	put_gauge(writer, "lifeboat_store_abnormals", NULL, "Abnormals in the store.",
		  (double)counts->abnormals);
	put_gauge(writer, "lifeboat_store_bytes", "bytes", "Size of the store.",
		  (double)counts->bytes);
	put_gauge(writer, "lifeboat_store_pending", NULL, "Writes that are not durable yet.",
		  (double)counts->pending);
	put_counter(writer, "lifeboat_store_writes", "Records written.", counts->writes);
	put_counter(writer, "lifeboat_store_write_errors",
		    "Records that could not be written at first.", counts->write_errors);
	put_counter(writer, "lifeboat_store_commits", "Transactions committed.", counts->commits);
}

static void render_api(struct writer *writer, const struct metrics_input *input)
{
	const struct api_counts *counts = input->api;
	const struct simple refused[] = {{"not_allowed", counts->refused_peer},
					 {"full", counts->refused_full}};

	put_counter(writer, "lifeboat_api_connections_accepted", "Connections to the API.",
		    counts->connections_accepted);
	put_counters(writer, "lifeboat_api_connections_refused",
		     "Connections that were closed at once.", "cause", refused,
		     ARRAY_SIZE(refused));
	put_counter(writer, "lifeboat_api_requests", "Requests.", counts->requests);
	put_counter(writer, "lifeboat_api_requests_failed",
		    "Requests that got an error for an answer.", counts->requests_failed);
	put_counter(writer, "lifeboat_api_timeouts",
		    "Requests that took too long to come or to answer.", counts->timeouts);
	put_counter(writer, "lifeboat_api_watchers_closed", "Watchers that read too slowly.",
		    counts->watchers_closed);
	put_gauge(writer, "lifeboat_api_connections", NULL, "Open connections.",
		  input->connections);
	put_gauge(writer, "lifeboat_api_watchers", NULL, "Open watches.", input->watchers);
}

static void render_process(struct writer *writer, const struct metrics_input *input)
{
	put_family(writer, "lifeboat_build", "info", NULL, "The running program.");
	put_sample(writer, "lifeboat_build_info",
		   LABELS("version", input->version, "node", input->node_name), 1);
	put_gauge(writer, "lifeboat_dry_run", NULL, "1 if the agent only tells what it would do.",
		  input->dry_run);
	put_family(writer, "process_cpu_seconds", "counter", "seconds",
		   "User and system time of the agent.");
	put_sample(writer, "process_cpu_seconds_total", NULL, input->process.cpu_seconds);
	put_gauge(writer, "process_resident_memory_bytes", "bytes", "Resident memory of the agent.",
		  (double)input->process.resident_bytes);
	put_gauge(writer, "process_open_fds", NULL, "Open file descriptors of the agent.",
		  (double)input->process.open_files);
	put_gauge(writer, "process_start_time_seconds", "seconds",
		  "When the agent started, since 1970.", input->process.start_time_seconds);
}

int metrics_render(const struct metrics_input *input, struct buffer *text)
{
	struct writer writer = {.text = text};

	render_abnormals(&writer, input);
	render_calls(&writer, input->calls);
	render_detectors(&writer, input->detectors);
	render_ring(&writer, input);
	render_store(&writer, input);
	render_api(&writer, input);
	render_process(&writer, input);
	put(&writer, "# EOF\n");
	return writer.error;
}
