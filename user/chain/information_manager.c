/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The information manager: runs the collectors of an Abnormal, all at once as far as the pool has
 * room, and keeps for each what came of it in status.information, and what it found in
 * status.context. Collectors only read, so after a restart they simply run again.
 */
#include "chain/handling.h"

#include "base/utf8.h"

/* Entries of status.information, well below what the codec accepts. */
#define INFORMATION_MAXIMUM 512
/* Of a reason: that many of them must fit into an Abnormal. */
#define REASON_BYTES_MAX 400

/* --- What came of one collector --- */

int information_record(struct information *information, struct call_result *result)
{
	const char *reason = result->verdict == CALL_ERROR ? result->error : result->note;
	char text[REASON_BYTES_MAX];

	switch (result->verdict) {
	case CALL_RECOGNISED:
		information->state = INFORMATION_COLLECTED;
		break;
	case CALL_NOT_MINE:
		information->state = INFORMATION_SKIPPED;
		reason = result->explanation
				 ? result->explanation
				 : "the collector says that it is not for this Abnormal";
		break;
	case CALL_ERROR:
		information->state = INFORMATION_FAILED;
		break;
	}
	information->start_time = (int64_t)result->start_realtime_ns;
	information->duration = result->duration_ns;
	information->artifacts = result->artifacts;
	result->artifacts = (struct list){0};
	return string_set(&information->reason,
			  reason ? utf8_copy(text, sizeof(text), reason) : NULL);
}

/* The files are there, and the Abnormal still fits into the store. */
static int artifacts_leave_out(struct information *information)
{
	struct list *list = &information->artifacts;
	char text[REASON_BYTES_MAX];

	snprintf(text, sizeof(text),
		 "its %zu artifacts are not listed here, as the Abnormal would become too large: "
		 "look into its folder",
		 list->count);
	for (size_t i = 0; i < list->count; i++)
		schema_clear(&artifact_schema, (struct artifact *)list->items + i);
	free(list->items);
	*list = (struct list){0};
	return string_set(&information->reason, text);
}

static struct information *information_at(struct handling *handling, size_t index)
{
	return (struct information *)handling->abnormal->status.information.items + index;
}

static int information_append(struct handling *handling, const char *collector, size_t *ret_index)
{
	struct list *list = &handling->abnormal->status.information;
	struct information *information = list_append(list, &information_schema);

	if (!information)
		return -ENOMEM;
	*ret_index = list->count - 1;
	return string_set(&information->collector, collector);
}

static int information_failed(struct handling *handling, const char *collector, const char *reason)
{
	size_t index;
	int r = information_append(handling, collector, &index);

	if (r < 0)
		return r;
	information_at(handling, index)->state = INFORMATION_FAILED;
	return string_set(&information_at(handling, index)->reason, reason);
}

static bool was_asked(struct handling *handling, const char *collector)
{
	for (size_t i = 0; i < handling->abnormal->status.information.count; i++)
		if (streq_ptr(information_at(handling, i)->collector, collector))
			return true;
	return false;
}

static void information_clear(struct handling *handling)
{
	struct list *list = &handling->abnormal->status.information;

	for (size_t i = 0; i < list->count; i++)
		schema_clear(&information_schema, information_at(handling, i));
	free(list->items);
	*list = (struct list){0};
}

/* --- Running them --- */

void information_manager_stop(struct handling *handling)
{
	for (size_t i = 0; i < handling->collection_count; i++) {
		if (handling->collections[i].call)
			call_cancel(handling->collections[i].call);
		plugin_entry_unref(handling->collections[i].entry);
	}
	free(TAKE_PTR(handling->collections));
	handling->collection_count = handling->collections_running = 0;
}

/* The last one is in: on with the stage that asked. */
static int all_collected(struct handling *handling)
{
	handling_step then = handling->collected;

	return then(handling);
}

static int record(struct collection *collection, struct call_result *result)
{
	struct handling *handling = collection->handling;
	int r = handling_merge(handling, result->answer);

	if (r == -EFBIG) {
		result->verdict = CALL_ERROR;
		free(result->error);
		result->error =
			strdup("what it found would make the Abnormal too large to be kept");
		r = 0;
	}
	if (r == 0)
		r = information_record(information_at(handling, collection->index), result);
	if (r == 0 && information_at(handling, collection->index)->artifacts.count &&
	    !handling_has_room(handling))
		r = artifacts_leave_out(information_at(handling, collection->index));
	if (r == 0 && result->verdict == CALL_ERROR)
		log_warning("Collector %s failed on %s: %s; handling goes on without what it would "
			    "have told",
			    collection->entry->name, handling_name(handling),
			    result->error ? result->error : "out of memory");
	return r;
}

static void collection_done(void *userdata, struct call_result *result)
{
	struct collection *collection = userdata;
	struct handling *handling = collection->handling;

	collection->call = NULL;
	if (record(collection, result) < 0)
		log_error("Keeping what collector %s found for %s failed: out of memory",
			  collection->entry->name, handling_name(handling));
	if (--handling->collections_running == 0)
		handling_go(handling, all_collected);
}

/* ARTIFACT_ROOT/UID/COLLECTOR, or NULL where none are kept. */
static char *artifact_directory(const struct handling *handling, const char *collector)
{
	const char *root = handling->pipeline->artifact_root,
		   *uid = handling->abnormal->metadata.uid;
	char *path;

	if (!root || !uid || asprintf(&path, "%s/%s/%s", root, uid, collector) < 0)
		return NULL;
	return path;
}

static int collection_start(struct handling *handling, struct collection *collection)
{
	_cleanup_free_ char *directory = artifact_directory(handling, collection->entry->name);
	int r = information_append(handling, collection->entry->name, &collection->index);

	if (r < 0)
		return r;
	r = call_start(handling->pipeline->options.pool, collection->entry, STEP_COLLECT,
		       handling->abnormal, directory, collection_done, collection,
		       &collection->call);
	if (r == 0) {
		handling->collections_running++;
		return 0;
	}
	information_at(handling, collection->index)->state = INFORMATION_FAILED;
	return string_set(&information_at(handling, collection->index)->reason, strerror(-r));
}

/* Takes ENTRIES; those that were asked before are left out. */
static int collect(struct handling *handling, struct plugin_entry **entries, size_t count,
		   handling_step then)
{
	int r = 0;

	information_manager_stop(handling);
	handling->collected = then;
	handling->collections = calloc(count + 1, sizeof(*handling->collections));
	if (!handling->collections)
		r = -ENOMEM;
	for (size_t i = 0; i < count && r == 0; i++) {
		struct collection *collection = &handling->collections[handling->collection_count];

		if (was_asked(handling, entries[i]->name) ||
		    handling->abnormal->status.information.count >= INFORMATION_MAXIMUM)
			continue;
		*collection = (struct collection){.handling = handling,
						  .entry = plugin_entry_ref(entries[i])};
		handling->collection_count++;
		r = collection_start(handling, collection);
	}
	plugin_entries_free(entries, count);
	if (r < 0)
		information_manager_stop(handling);
	else if (handling->collections_running == 0)
		r = all_collected(handling);
	return r;
}

/* --- The two occasions --- */

/* A required collector that failed: its entry, or NULL. */
static const struct collection *required_failure(struct handling *handling)
{
	for (size_t i = 0; i < handling->collection_count; i++) {
		const struct collection *collection = &handling->collections[i];

		if (collection->entry->required &&
		    information_at(handling, collection->index)->state == INFORMATION_FAILED)
			return collection;
	}
	return NULL;
}

static int not_collected(struct handling *handling, const struct collection *failed)
{
	const struct information *information = information_at(handling, failed->index);
	char text[512];

	snprintf(text, sizeof(text),
		 "The collector %s is required and failed: %.300s. Without it nothing is diagnosed "
		 "or repaired; find out why it fails, or make it not required",
		 failed->entry->name,
		 information->reason ? information->reason : "it gave no reason");
	if (string_set(&handling->abnormal->status.message, text) < 0 ||
	    string_set(&handling->abnormal->status.reason, "InformationNotCollected") < 0)
		return -ENOMEM;
	return handling_take(handling, TRANSITION_NOT_COLLECTED, NULL, text);
}

static int information_in(struct handling *handling)
{
	const struct collection *failed = required_failure(handling);
	size_t count = handling->abnormal->status.information.count, collected = 0;
	char text[64];

	if (failed && handling->cleared)
		return handling_take_cleared(handling);
	if (failed)
		return not_collected(handling, failed);
	for (size_t i = 0; i < count; i++)
		collected += information_at(handling, i)->state == INFORMATION_COLLECTED;
	snprintf(text, sizeof(text), "%zu of %zu collectors gave information", collected, count);
	information_manager_stop(handling);
	return handling_take(handling, TRANSITION_COLLECTED, NULL, text);
}

int information_manager_run(struct handling *handling)
{
	struct strings missing = {0};
	struct plugin_entry **entries;
	size_t count;
	int r = registry_chain(handling->pipeline->options.registry, PLUGIN_COLLECTOR,
			       handling->abnormal, &entries, &count, &missing);

	if (r < 0)
		return r;
	information_clear(handling);
	for (size_t i = 0; i < missing.count && r == 0; i++)
		r = information_failed(
			handling, missing.items[i],
			"is assigned, but no such collector is known and enabled on this node");
	strings_clear(&missing);
	if (r < 0) {
		plugin_entries_free(entries, count);
		return r;
	}
	return collect(handling, entries, count, information_in);
}

int information_manager_troubleshoot(struct handling *handling, handling_step then)
{
	struct plugin_entry **entries;
	size_t count;
	int r = registry_troubleshooting(handling->pipeline->options.registry, handling->abnormal,
					 &entries, &count);

	return r < 0 ? r : collect(handling, entries, count, then);
}
