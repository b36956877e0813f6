/* SPDX-License-Identifier: Apache-2.0 */
/* One plug-in of the registry: from built-in or script, settings of the configuration on top. */
#include "plugin/entry.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "plugin/settings.h"
#include "plugin/script_header.h"
#include "plugin/script_trust.h"

#define ORDER_DEFAULT 100
#define COOLDOWN_DEFAULT_NS (600 * NS_PER_S)
#define VERIFY_WITHIN_DEFAULT_NS (30 * NS_PER_S)
#define TIMEOUT_DEFAULT_NS (10 * NS_PER_S)
#define MEMORY_DEFAULT_BYTES (128 * MIB)
#define NAME_LENGTH_MAX 63

const char *const plugin_transport_names[] = {"builtin", "script", NULL};

struct plugin_entry *plugin_entry_ref(struct plugin_entry *entry)
{
	entry->references++;
	return entry;
}

void plugin_entry_unref(struct plugin_entry *entry)
{
	if (--entry->references)
		return;
	free(entry->name);
	free(entry->summary);
	free(entry->path);
	free(entry->refusal);
	for (size_t i = 0; i < entry->detectors.count; i++)
		free(entry->detectors.items[i]);
	free(entry->detectors.items);
	cJSON_Delete(entry->settings);
	free(entry);
}

static struct plugin_entry *entry_new(enum plugin_kind kind, const char *name)
{
	struct plugin_entry *entry = malloc(sizeof(*entry));

	if (!entry)
		return NULL;
	*entry = (struct plugin_entry){
		.references = 1,
		.kind = kind,
		.name = strdup(name),
		.enabled = true,
		.order = ORDER_DEFAULT,
		.cooldown_ns = COOLDOWN_DEFAULT_NS,
		.verify_within_ns = VERIFY_WITHIN_DEFAULT_NS,
		.timeout_ns = TIMEOUT_DEFAULT_NS,
		.memory_bytes = MEMORY_DEFAULT_BYTES,
	};
	if (!entry->name) {
		plugin_entry_unref(entry);
		return NULL;
	}
	return entry;
}

static void override(uint64_t *value, uint64_t with)
{
	if (with)
		*value = with;
}

static int settings_apply(struct plugin_entry *entry, const cJSON *settings,
			  struct problem *problem)
{
	_cleanup_(plugin_common_settings_freep) struct plugin_common_settings *common = NULL;
	int r = plugin_settings_read(entry->kind, entry->builtin, settings, &common,
				     &entry->settings, problem);

	if (r < 0)
		return r;
	if (common->enabled >= 0)
		entry->enabled = common->enabled;
	if (common->has_order)
		entry->order = (int)common->order;
	if (entry->kind == PLUGIN_COLLECTOR && common->required >= 0)
		entry->required = common->required;
	if (entry->kind == PLUGIN_RECOVERER)
		entry->dry_run = common->dry_run > 0;
	override(&entry->timeout_ns, common->timeout_ns);
	override(&entry->cooldown_ns, common->cooldown_ns);
	override(&entry->verify_within_ns, common->verify_within_ns);
	/* Both were checked when they were read. */
	if (common->memory)
		memory_parse(common->memory, &entry->memory_bytes);
	if (common->rate)
		rate_parse(common->rate, &entry->rate_count, &entry->rate_period_ns);
	return 0;
}

int plugin_entry_new_builtin(const struct plugin *plugin, const cJSON *settings,
			     struct plugin_entry **ret_entry, struct problem *problem)
{
	_cleanup_(plugin_entry_unrefp) struct plugin_entry *entry =
		entry_new(plugin->kind, plugin->name);

	if (!entry)
		return -ENOMEM;
	entry->transport = TRANSPORT_BUILTIN;
	entry->builtin = plugin;
	entry->enabled = !plugin->off_by_default;
	entry->order = plugin->order;
	entry->sources = plugin->sources;
	for (const char *const *detector = plugin->detectors; detector && *detector; detector++)
		if (strings_append(&entry->detectors, *detector) < 0)
			return -ENOMEM;
	entry->troubleshooting = plugin->troubleshooting || plugin->only_troubleshooting;
	entry->only_troubleshooting = plugin->only_troubleshooting;
	entry->disturbs = plugin->disturbs;
	entry->idempotent = plugin->idempotent;
	entry->can_plan = plugin->plan;
	entry->can_verify = plugin->verify;
	override(&entry->cooldown_ns, plugin->cooldown_ns);
	override(&entry->verify_within_ns, plugin->verify_within_ns);
	override(&entry->timeout_ns, plugin->timeout_ns);
	if (plugin->memory_bytes)
		entry->memory_bytes = plugin->memory_bytes;
	int r = string_set(&entry->summary, plugin->summary);
	if (r == 0)
		r = settings_apply(entry, settings, problem);
	if (r < 0)
		return r;
	*ret_entry = TAKE_PTR(entry);
	return 0;
}

static int refuse(struct plugin_entry *entry, const char *text)
{
	return entry->refusal ? 0 : string_set(&entry->refusal, text);
}

static int header_apply(struct plugin_entry *entry, struct script_header *header)
{
	entry->order = header->has_order ? (int)header->order : ORDER_DEFAULT;
	entry->sources = header->source_mask;
	entry->detectors = header->detectors;
	header->detectors = (struct strings){0};
	entry->required = header->required;
	entry->only_troubleshooting = header->troubleshooting == TROUBLESHOOTING_ONLY;
	entry->troubleshooting = header->troubleshooting >= TROUBLESHOOTING_YES;
	if (header->disturbs)
		entry->disturbs = (enum disturbance)(header->disturbs - 1);
	entry->idempotent = header->idempotent;
	entry->can_plan = header->plan;
	entry->can_verify = header->verify;
	override(&entry->timeout_ns, header->timeout_ns);
	override(&entry->cooldown_ns, header->cooldown_ns);
	override(&entry->verify_within_ns, header->verify_within_ns);
	if (header->memory)
		memory_parse(header->memory, &entry->memory_bytes);
	return string_set(&entry->summary, header->summary);
}

/* Reads the beginning of the script. Trusted before, so no device or FIFO can be in its place. */
static int header_read(struct plugin_entry *entry, const char *resolved)
{
	_cleanup_(script_header_freep) struct script_header *header = NULL;
	struct problem problem = {0};
	char text[SCRIPT_HEADER_BYTES], line[700], refusal[800];
	size_t length = 0;
	ssize_t got;

	_cleanup_close_ int fd = open(resolved, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		snprintf(refusal, sizeof(refusal), "it cannot be read: %s", strerror(errno));
		return refuse(entry, refusal);
	}
	while (length < sizeof(text) && (got = read(fd, text + length, sizeof(text) - length)) > 0)
		length += (size_t)got;
	int r = script_header_parse(entry->kind, text, length, &header, &problem);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		snprintf(refusal, sizeof(refusal), "its `# lifeboat:` header is wrong: %s",
			 problem_line(&problem, line, sizeof(line)));
		return refuse(entry, refusal);
	}
	return header_apply(entry, header);
}

/* File name without its extension; false if that is no name for a plug-in. */
static bool name_of(const char *file_name, char name[256])
{
	snprintf(name, 256, "%s", file_name);
	char *dot = strrchr(name, '.');
	if (dot && dot != name)
		*dot = '\0';
	size_t length = strlen(name);
	for (const char *p = name; *p; p++)
		if (!isascii(*p) ||
		    !(isalnum((unsigned char)*p) || (p != name && strchr("-_.", *p))))
			return false;
	return length > 0 && length <= NAME_LENGTH_MAX;
}

static bool is_candidate(const char *path, const char *file_name)
{
	struct stat status;

	if (*file_name == '.' || *file_name == '#' || endswith(file_name, "~"))
		return false;
	return stat(path, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0111);
}

int plugin_entry_new_script(enum plugin_kind kind, const char *directory, const char *file_name,
			    const cJSON *all_settings, struct plugin_entry **ret_entry)
{
	char path[PATH_MAX], resolved[PATH_MAX], name[256], line[700];
	struct problem problem = {0};

	if (snprintf(path, sizeof(path), "%s/%s", directory, file_name) >= (int)sizeof(path) ||
	    !is_candidate(path, file_name))
		return -ENOENT;
	bool named = name_of(file_name, name);
	_cleanup_(plugin_entry_unrefp) struct plugin_entry *entry =
		entry_new(kind, named ? name : file_name);
	if (!entry)
		return -ENOMEM;
	entry->transport = TRANSPORT_SCRIPT;
	/* What a script may disturb it has to say; unsaid, the worst is assumed. */
	entry->disturbs = kind == PLUGIN_RECOVERER ? DISTURBS_NODE : DISTURBS_NONE;
	int r = string_set(&entry->path, path);
	if (r == 0 && !named)
		r = refuse(entry, "its name must be of at most 63 of a-z A-Z 0-9 . _ -, and begin "
				  "with a letter or digit");
	if (r == 0 && script_trust(path, NULL, resolved, &problem) < 0)
		r = refuse(entry, problem.text);
	else if (r == 0)
		r = header_read(entry, resolved);
	if (r < 0)
		return r;
	problem = (struct problem){0};
	r = settings_apply(entry, cJSON_GetObjectItemCaseSensitive(all_settings, entry->name),
			   &problem);
	if (r == -EINVAL)
		r = refuse(entry, problem_line(&problem, line, sizeof(line)));
	if (r < 0)
		return r;
	*ret_entry = TAKE_PTR(entry);
	return 0;
}

bool plugin_entry_matches(const struct plugin_entry *entry, const struct abnormal *abnormal)
{
	int source = abnormal->spec.source;
	const struct kernel_event *event = abnormal->spec.kernel_event;

	if (entry->sources && !(entry->sources & FOR_SOURCE(source)))
		return false;
	if (source == SOURCE_KERNEL_EVENT && entry->detectors.count &&
	    (!event || !event->detector || !strings_contain(&entry->detectors, event->detector)))
		return false;
	return !entry->builtin || !entry->builtin->wants || entry->builtin->wants(abnormal);
}

static int set_duration(cJSON *json, const char *name, uint64_t ns)
{
	char text[TIME_TEXT_SIZE];

	return json_set_string(json, name, duration_format(ns, text));
}

static int set_matches(cJSON *json, const struct plugin_entry *entry)
{
	cJSON *sources = cJSON_CreateArray(), *detectors = cJSON_CreateArray();
	bool complete = sources && detectors;

	for (int source = SOURCE_KERNEL_EVENT; complete && source <= SOURCE_CUSTOM; source++)
		if (entry->sources & FOR_SOURCE(source))
			complete = cJSON_AddItemToArray(
				sources, cJSON_CreateString(abnormal_source_names[source]));
	for (size_t i = 0; complete && i < entry->detectors.count; i++)
		complete = cJSON_AddItemToArray(detectors,
						cJSON_CreateString(entry->detectors.items[i]));
	if (!complete) {
		cJSON_Delete(sources);
		cJSON_Delete(detectors);
		return -ENOMEM;
	}
	/* Each is taken, also when it fails. */
	int r = json_set(json, "sources", sources);
	int s = json_set(json, "detectors", detectors);
	return r < 0 ? r : s;
}

static int set_recoverer(cJSON *json, const struct plugin_entry *entry)
{
	char rate[64], period[TIME_TEXT_SIZE];
	int r = json_set_string(json, "disturbs", disturbance_names[entry->disturbs]);

	if (r == 0)
		r = json_set_bool(json, "idempotent", entry->idempotent);
	if (r == 0)
		r = json_set_bool(json, "plan", entry->can_plan);
	if (r == 0)
		r = json_set_bool(json, "verify", entry->can_verify);
	if (r == 0)
		r = json_set_bool(json, "dryRun", entry->dry_run);
	if (r == 0)
		r = set_duration(json, "cooldown", entry->cooldown_ns);
	if (r == 0)
		r = set_duration(json, "verifyWithin", entry->verify_within_ns);
	if (r == 0 && entry->rate_count) {
		snprintf(rate, sizeof(rate), "%llu/%s", (unsigned long long)entry->rate_count,
			 duration_format(entry->rate_period_ns, period));
		r = json_set_string(json, "rate", rate);
	}
	return r;
}

cJSON *plugin_entry_json(const struct plugin_entry *entry)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	int r = json ? json_set_string(json, "name", entry->name) : -ENOMEM;

	if (r == 0)
		r = json_set_string(json, "kind", plugin_kind_names[entry->kind]);
	if (r == 0)
		r = json_set_string(json, "transport", plugin_transport_names[entry->transport]);
	if (r == 0)
		r = json_set_string(json, "path", entry->path);
	if (r == 0)
		r = json_set_bool(json, "enabled", entry->enabled);
	if (r == 0)
		r = json_set_string(json, "refusal", entry->refusal);
	if (r == 0)
		r = json_set_number(json, "order", entry->order);
	if (r == 0)
		r = json_set_string(json, "summary", entry->summary);
	if (r == 0)
		r = set_matches(json, entry);
	if (r == 0)
		r = set_duration(json, "timeout", entry->timeout_ns);
	if (r == 0)
		r = json_set_number(json, "memoryBytes", (double)entry->memory_bytes);
	if (r == 0 && entry->kind == PLUGIN_COLLECTOR) {
		r = json_set_bool(json, "required", entry->required);
		if (r == 0)
			r = json_set_string(json, "troubleshooting",
					    entry->only_troubleshooting ? "only"
					    : entry->troubleshooting	? "yes"
									: "no");
	}
	if (r == 0 && entry->kind == PLUGIN_RECOVERER)
		r = set_recoverer(json, entry);
	if (r == 0 && entry->settings) {
		cJSON *settings = cJSON_Duplicate(entry->settings, true);
		r = settings ? json_set(json, "settings", settings) : -ENOMEM;
	}
	return r < 0 ? NULL : TAKE_PTR(json);
}
