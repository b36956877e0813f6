/* SPDX-License-Identifier: Apache-2.0 */
/* All plug-ins of the three kinds, in chain order, and which of them an Abnormal gets. */
#include "plugin/registry.h"

#include "base/suggestion.h"
#include "plugin/entry.h"
#include "plugin/run.h"
#include "plugin/settings.h"
#include "plugin/script_folder.h"

#define KINDS 3

struct registry_kind {
	enum plugin_kind kind;
	cJSON *settings;
	struct script_folder *folder; /* NULL: none */
	struct plugin_entry **entries;
	size_t count;
};

struct registry {
	struct registry_kind kinds[KINDS];
};

void plugin_entries_free(struct plugin_entry **entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		plugin_entry_unref(entries[i]);
	free(entries);
}

void registry_free(struct registry *registry)
{
	for (int i = 0; i < KINDS; i++) {
		struct registry_kind *kind = &registry->kinds[i];

		if (kind->folder)
			script_folder_free(kind->folder);
		plugin_entries_free(kind->entries, kind->count);
		cJSON_Delete(kind->settings);
	}
	free(registry);
}

int registry_check_settings(enum plugin_kind kind, const cJSON *settings, struct problem *problem)
{
	const cJSON *of_one;

	if (!settings || cJSON_IsNull(settings))
		return 0;
	if (!cJSON_IsObject(settings))
		return problem_set(problem, -EINVAL, "", "must be an object of plug-ins by name");
	cJSON_ArrayForEach (of_one, settings) {
		_cleanup_(plugin_common_settings_freep) struct plugin_common_settings *common =
			NULL;
		_cleanup_json_ cJSON *own = NULL;
		int r = plugin_settings_read(kind, plugin_builtin(kind, of_one->string), of_one,
					     &common, &own, problem);

		if (r < 0) {
			if (problem && *problem->field)
				problem_prefix(problem, of_one->string);
			else if (problem)
				snprintf(problem->field, sizeof(problem->field), "%s",
					 of_one->string);
			return r;
		}
	}
	return 0;
}

static int by_order(const void *left, const void *right)
{
	const struct plugin_entry *a = *(struct plugin_entry *const *)left;
	const struct plugin_entry *b = *(struct plugin_entry *const *)right;

	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	int by_name = strcmp(a->name, b->name);
	/*
	 * Of two with one name the refused one comes last, so that registry_find finds the other.
	 */
	return by_name ? by_name : (a->refusal != NULL) - (b->refusal != NULL);
}

struct entries {
	struct plugin_entry **items;
	size_t count;
};

static void entries_clear(struct entries *entries)
{
	plugin_entries_free(entries->items, entries->count);
}

/* ENTRY is taken, also on failure. */
static int entries_add(struct entries *entries, struct plugin_entry *entry)
{
	struct plugin_entry **grown =
		reallocarray(entries->items, entries->count + 1, sizeof(*grown));

	if (!grown) {
		plugin_entry_unref(entry);
		return -ENOMEM;
	}
	entries->items = grown;
	entries->items[entries->count++] = entry;
	return 0;
}

/* Makes the list of a kind anew; on error the old one stays. */
static int kind_read(struct registry_kind *kind, const cJSON *settings)
{
	_cleanup_(entries_clear) struct entries entries = {0};
	struct plugin_entry **scripts = NULL;
	struct problem problem = {0};
	size_t script_count = 0;
	int r = 0;

	FOREACH_REGISTERED (plugins, struct plugin, plugin) {
		struct plugin_entry *entry;

		if (plugin->kind != kind->kind)
			continue;
		r = plugin_entry_new_builtin(
			plugin, cJSON_GetObjectItemCaseSensitive(settings, plugin->name), &entry,
			&problem);
		if (r == 0)
			r = entries_add(&entries, entry);
		if (r < 0)
			return r;
	}
	if (kind->folder)
		r = script_folder_read(kind->folder, settings, &scripts, &script_count);
	for (size_t i = 0; i < script_count && r == 0; i++)
		r = entries_add(&entries, plugin_entry_ref(scripts[i]));
	plugin_entries_free(scripts, script_count);
	if (r < 0)
		return r;
	if (entries.count)
		qsort(entries.items, entries.count, sizeof(struct plugin_entry *), by_order);
	plugin_entries_free(kind->entries, kind->count);
	kind->entries = TAKE_PTR(entries.items);
	kind->count = entries.count;
	entries.count = 0;
	return 0;
}

static void on_folder_changed(void *userdata)
{
	struct registry_kind *kind = userdata;
	int r = kind_read(kind, kind->settings);

	if (r < 0)
		log_error("Cannot read the folder of %s scripts again: %s; the chain stays as it "
			  "was, until the folder changes again",
			  plugin_kind_names[kind->kind], strerror(-r));
}

int registry_new(const struct registry_options *options, struct registry **ret_registry)
{
	_cleanup_(registry_freep) struct registry *registry = calloc(1, sizeof(*registry));
	int r = 0;

	if (!registry)
		return -ENOMEM;
	for (int i = 0; i < KINDS && r >= 0; i++) {
		struct registry_kind *kind = &registry->kinds[i];

		kind->kind = (enum plugin_kind)i;
		if (options->directories[i])
			r = script_folder_new(options->event, kind->kind, options->directories[i],
					      on_folder_changed, kind, &kind->folder);
	}
	if (r >= 0)
		r = registry_reconfigure(registry, options->settings);
	if (r < 0)
		return r;
	*ret_registry = TAKE_PTR(registry);
	return 0;
}

int registry_reconfigure(struct registry *registry, const cJSON *const settings[3])
{
	struct problem problem;

	for (int i = 0; i < KINDS; i++)
		if (registry_check_settings((enum plugin_kind)i, settings[i], &problem) < 0)
			return -EINVAL;
	for (int i = 0; i < KINDS; i++) {
		struct registry_kind *kind = &registry->kinds[i];
		_cleanup_json_ cJSON *copy =
			settings[i] ? cJSON_Duplicate(settings[i], true) : NULL;

		if (settings[i] && !copy)
			return -ENOMEM;
		int r = kind_read(kind, copy);
		if (r < 0)
			return r;
		cJSON_Delete(kind->settings);
		kind->settings = TAKE_PTR(copy);
	}
	return 0;
}

struct plugin_entry *registry_find(const struct registry *registry, enum plugin_kind kind,
				   const char *name)
{
	const struct registry_kind *of_kind = &registry->kinds[kind];
	struct plugin_entry *refused = NULL;

	for (size_t i = 0; i < of_kind->count; i++) {
		struct plugin_entry *entry = of_kind->entries[i];

		if (!streq(entry->name, name))
			continue;
		if (!entry->refusal)
			return entry;
		refused = entry;
	}
	return refused;
}

static const char *name_near(const struct registry_kind *kind, const char *name)
{
	struct suggestion suggestion = {.text = name};

	for (size_t i = 0; i < kind->count; i++)
		suggestion_offer(&suggestion, kind->entries[i]->name);
	return suggestion.best;
}

void registry_tell_unknown(const struct registry *registry,
			   void (*tell)(enum plugin_kind kind, const char *name, const char *meant))
{
	for (int i = 0; i < KINDS; i++) {
		const struct registry_kind *kind = &registry->kinds[i];
		const cJSON *of_one;

		cJSON_ArrayForEach (of_one, kind->settings)
			if (!registry_find(registry, kind->kind, of_one->string))
				tell(kind->kind, of_one->string, name_near(kind, of_one->string));
	}
}

static const struct list *assigned_list(const struct abnormal *abnormal, enum plugin_kind kind)
{
	if (kind == PLUGIN_COLLECTOR)
		return &abnormal->spec.assigned_information_collectors;
	return kind == PLUGIN_DIAGNOSER ? &abnormal->spec.assigned_diagnosers
					: &abnormal->spec.assigned_recoverers;
}

static bool is_usable(const struct plugin_entry *entry)
{
	return entry->enabled && !entry->refusal;
}

static int assigned_chain(const struct registry *registry, enum plugin_kind kind,
			  const struct list *assigned, struct entries *chain,
			  struct strings *missing)
{
	const struct object_reference *references = assigned->items;
	int r = 0;

	for (size_t i = 0; i < assigned->count && r == 0; i++) {
		const char *name = references[i].name;
		struct plugin_entry *entry = name ? registry_find(registry, kind, name) : NULL;

		if (entry && is_usable(entry))
			r = entries_add(chain, plugin_entry_ref(entry));
		else if (missing && name)
			r = strings_append(missing, name);
	}
	return r;
}

/* Those of KIND that WANTED says yes to and that match ABNORMAL. */
static int matching_chain(const struct registry *registry, enum plugin_kind kind,
			  const struct abnormal *abnormal,
			  bool (*wanted)(const struct plugin_entry *entry), struct entries *chain)
{
	const struct registry_kind *of_kind = &registry->kinds[kind];
	int r = 0;

	for (size_t i = 0; i < of_kind->count && r == 0; i++) {
		struct plugin_entry *entry = of_kind->entries[i];

		if (is_usable(entry) && wanted(entry) && plugin_entry_matches(entry, abnormal))
			r = entries_add(chain, plugin_entry_ref(entry));
	}
	return r;
}

static bool in_first_round(const struct plugin_entry *entry)
{
	return !entry->only_troubleshooting;
}

static bool in_troubleshooting(const struct plugin_entry *entry)
{
	return entry->troubleshooting;
}

int registry_chain(const struct registry *registry, enum plugin_kind kind,
		   const struct abnormal *abnormal, struct plugin_entry ***ret_entries,
		   size_t *ret_count, struct strings *ret_missing)
{
	const struct list *assigned = assigned_list(abnormal, kind);
	_cleanup_(entries_clear) struct entries chain = {0};
	int r = assigned->count ? assigned_chain(registry, kind, assigned, &chain, ret_missing)
				: matching_chain(registry, kind, abnormal, in_first_round, &chain);

	if (r < 0)
		return r;
	*ret_entries = TAKE_PTR(chain.items);
	*ret_count = chain.count;
	chain.count = 0;
	return 0;
}

int registry_troubleshooting(const struct registry *registry, const struct abnormal *abnormal,
			     struct plugin_entry ***ret_entries, size_t *ret_count)
{
	_cleanup_(entries_clear) struct entries chain = {0};
	int r = matching_chain(registry, PLUGIN_COLLECTOR, abnormal, in_troubleshooting, &chain);

	if (r < 0)
		return r;
	*ret_entries = TAKE_PTR(chain.items);
	*ret_count = chain.count;
	chain.count = 0;
	return 0;
}

cJSON *registry_list(const struct registry *registry, enum plugin_kind kind)
{
	const struct registry_kind *of_kind = &registry->kinds[kind];
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < of_kind->count; i++) {
		cJSON *entry = plugin_entry_json(of_kind->entries[i]);

		if (!entry || !cJSON_AddItemToArray(list, entry)) {
			cJSON_Delete(entry);
			return NULL;
		}
	}
	return TAKE_PTR(list);
}
