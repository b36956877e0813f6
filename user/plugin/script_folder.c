/* SPDX-License-Identifier: Apache-2.0 */
/* Watching and reading a folder of scripts. */
#include "plugin/script_folder.h"

#include <dirent.h>
#include <sys/inotify.h>

#include "plugin/entry.h"
#include "plugin/run.h"
#include "plugin/script_trust.h"

/* A file is often written, made executable and renamed in a row: one look after it. */
#define SETTLE_US (150 * 1000)
#define LOOK_AGAIN_US (5 * 1000 * 1000)
#define WATCHED                                                                             \
	(IN_CREATE | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | \
	 IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct script_folder {
	sd_event *event;
	enum plugin_kind kind;
	char *path;
	script_folder_changed changed;
	void *userdata;
	sd_event_source *watch, *settle, *look_again;
	/* what the log has been told of: {path: refusal, or "" if it is in the chain} */
	cJSON *told;
};

void script_folder_free(struct script_folder *folder)
{
	sd_event_source_disable_unref(folder->watch);
	sd_event_source_disable_unref(folder->settle);
	sd_event_source_disable_unref(folder->look_again);
	cJSON_Delete(folder->told);
	free(folder->path);
	free(folder);
}

static int on_inotify(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
	struct script_folder *folder = userdata;

	if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT))
		folder->watch = sd_event_source_disable_unref(folder->watch);
	sd_event_source_set_time_relative(folder->settle, SETTLE_US);
	sd_event_source_set_enabled(folder->settle, SD_EVENT_ONESHOT);
	return 0;
}

static void folder_watch(struct script_folder *folder)
{
	/* It fails while the folder is missing; on_look_again tries again. */
	if (folder->event && !folder->watch)
		sd_event_add_inotify(folder->event, &folder->watch, folder->path, WATCHED,
				     on_inotify, folder);
}

static int on_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct script_folder *folder = userdata;

	folder_watch(folder);
	folder->changed(folder->userdata);
	return 0;
}

static int on_look_again(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct script_folder *folder = userdata;

	sd_event_source_set_time_relative(source, LOOK_AGAIN_US);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	if (folder->watch)
		return 0;
	folder_watch(folder);
	if (folder->watch)
		folder->changed(folder->userdata);
	return 0;
}

int script_folder_new(sd_event *event, enum plugin_kind kind, const char *path,
		      script_folder_changed changed, void *userdata,
		      struct script_folder **ret_folder)
{
	_cleanup_(script_folder_freep) struct script_folder *folder = malloc(sizeof(*folder));

	if (!folder)
		return -ENOMEM;
	*folder = (struct script_folder){
		.event = event,
		.kind = kind,
		.path = strdup(path),
		.changed = changed,
		.userdata = userdata,
		.told = cJSON_CreateObject(),
	};
	if (!folder->path || !folder->told)
		return -ENOMEM;
	if (event) {
		int r = sd_event_add_time_relative(event, &folder->settle, CLOCK_MONOTONIC, 0, 0,
						   on_settled, folder);
		if (r >= 0)
			r = sd_event_source_set_enabled(folder->settle, SD_EVENT_OFF);
		if (r >= 0)
			r = sd_event_add_time_relative(event, &folder->look_again, CLOCK_MONOTONIC,
						       LOOK_AGAIN_US, 0, on_look_again, folder);
		if (r < 0)
			return r;
		folder_watch(folder);
	}
	*ret_folder = TAKE_PTR(folder);
	return 0;
}

/* What the log is told of an entry: a change is told, a state is not told again. */
static void entry_tell(struct script_folder *folder, cJSON *told, const struct plugin_entry *entry)
{
	const char *kind = plugin_kind_names[folder->kind];
	const char *now = entry->refusal ? entry->refusal : "";
	const char *before = json_string(folder->told, entry->path);

	/* What memory has no room for is told again next time: no harm. */
	json_set_string(told, entry->path, now);
	if (before && streq(before, now))
		return;
	if (entry->refusal)
		log_warning("The %s script %s is refused: %s", kind, entry->path, entry->refusal);
	else
		log_info("The %s script %s is in the chain as %s%s", kind, entry->path, entry->name,
			 entry->enabled ? "" : " (disabled by the configuration)");
}

static void removed_tell(struct script_folder *folder, cJSON *told)
{
	const cJSON *before;

	cJSON_ArrayForEach (before, folder->told)
		if (!cJSON_GetObjectItemCaseSensitive(told, before->string))
			log_info("The %s script %s is gone", plugin_kind_names[folder->kind],
				 before->string);
	cJSON_Delete(folder->told);
	folder->told = told;
}

static bool name_is_taken(struct plugin_entry **entries, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!entries[i]->refusal && streq(entries[i]->name, name))
			return true;
	return false;
}

/* Refusals that the file alone does not show: its folder's, its name's. */
static int entry_judge(const struct script_folder *folder, struct plugin_entry *entry,
		       const char *folder_refusal, struct plugin_entry **entries, size_t count)
{
	if (*folder_refusal && !entry->refusal)
		return string_set(&entry->refusal, folder_refusal);
	if (!entry->refusal && plugin_builtin(folder->kind, entry->name))
		return string_set(&entry->refusal, "a built-in has that name; rename the file");
	if (!entry->refusal && name_is_taken(entries, count, entry->name))
		return string_set(&entry->refusal,
				  "another script of the folder has that name; rename one of them");
	return 0;
}

static int not_dots(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

struct scanned {
	struct dirent **names;
	int count;
};

static void scanned_free(struct scanned *scanned)
{
	while (scanned->count > 0)
		free(scanned->names[--scanned->count]);
	free(scanned->names);
}

int script_folder_read(struct script_folder *folder, const cJSON *settings,
		       struct plugin_entry ***ret_entries, size_t *ret_count)
{
	_cleanup_(scanned_free) struct scanned scanned = {0};
	_cleanup_json_ cJSON *told = cJSON_CreateObject();
	struct problem problem = {0};
	struct plugin_entry **entries;
	size_t count = 0;
	int r = 0;

	if (!told)
		return -ENOMEM;
	scanned.count = scandir(folder->path, &scanned.names, not_dots, alphasort);
	if (scanned.count < 0 && errno != ENOENT && errno != ENOTDIR)
		return -errno;
	entries = calloc(SCRIPTS_MAX, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	if (scanned.count > 0)
		script_folder_trust(folder->path, &problem);
	for (int i = 0; i < scanned.count && r == 0; i++) {
		struct plugin_entry *entry;

		r = plugin_entry_new_script(folder->kind, folder->path, scanned.names[i]->d_name,
					    settings, &entry);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		r = entry_judge(folder, entry, problem.text, entries, count);
		if (count == SCRIPTS_MAX) {
			log_warning("The folder %s holds more than %d scripts: %s and what follows "
				    "is left out",
				    folder->path, SCRIPTS_MAX, scanned.names[i]->d_name);
			plugin_entry_unref(entry);
			break;
		}
		entries[count++] = entry;
		entry_tell(folder, told, entry);
	}
	if (r < 0) {
		plugin_entries_free(entries, count);
		return r;
	}
	removed_tell(folder, TAKE_PTR(told));
	*ret_entries = entries;
	*ret_count = count;
	return 0;
}
