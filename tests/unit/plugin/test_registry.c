/* SPDX-License-Identifier: Apache-2.0 */
/* Which plug-ins are in the chain: built-ins, hot folders, settings, and who is refused. */
#include "call_fixture.h"

#include "plugin/script_folder.h"
#include "plugin/script_trust.h"
#include "../skip.h"

#define UNIT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static int nothing(struct plugin_call *call)
{
	return PLUGIN_NOT_MINE;
}

static const char *const oom_alone[] = {"oom", NULL};

struct own {
	int64_t depth;
};
static const struct field own_fields[] = {
	{.name = "depth",
	 .kind = FIELD_INTEGER,
	 .offset = offsetof(struct own, depth),
	 .minimum = 1,
	 .maximum = 9},
};
static const struct schema own_schema = {.name = "own",
					 .size = sizeof(struct own),
					 .fields = own_fields,
					 .field_count = ARRAY_SIZE(own_fields),
					 .extra_offset = SCHEMA_STRICT};

static void own_defaults(void *settings)
{
	((struct own *)settings)->depth = 3;
}

PLUGIN(late_diagnoser) = {.name = "late",
			  .kind = PLUGIN_DIAGNOSER,
			  .order = 90,
			  .diagnose = nothing,
			  .settings = &own_schema,
			  .defaults = own_defaults};
PLUGIN(oom_diagnoser) = {.name = "oom-test",
			 .kind = PLUGIN_DIAGNOSER,
			 .order = 10,
			 .diagnose = nothing,
			 .sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
			 .detectors = oom_alone};
PLUGIN(first_collector) = {.name = "first", .kind = PLUGIN_COLLECTOR, .collect = nothing};
PLUGIN(trouble_collector) = {.name = "trouble",
			     .kind = PLUGIN_COLLECTOR,
			     .collect = nothing,
			     .only_troubleshooting = true};
PLUGIN(both_collector) = {
	.name = "both", .kind = PLUGIN_COLLECTOR, .collect = nothing, .troubleshooting = true};
static bool has_context(const struct abnormal *abnormal)
{
	return json_at(abnormal->spec.context, "answer");
}

PLUGIN(picky_recoverer) = {
	.name = "picky", .kind = PLUGIN_RECOVERER, .recover = nothing, .wants = has_context};
PLUGIN(off_recoverer) = {.name = "off",
			 .kind = PLUGIN_RECOVERER,
			 .recover = nothing,
			 .off_by_default = true,
			 .disturbs = DISTURBS_POD};

/* --- A registry over the fixture's folders "c", "d", "r" --- */

static const char *const folders[] = {"c", "d", "r"};

struct registered {
	struct fixture *fixture;
	char paths[3][256];
	struct registry *registry;
	cJSON *settings[3];
};

static int setup(void **state)
{
	struct registered *registered = calloc(1, sizeof(*registered));
	void *fixture;

	assert_non_null(registered);
	fixture_setup(&fixture);
	registered->fixture = fixture;
	for (int i = 0; i < 3; i++) {
		snprintf(registered->paths[i], sizeof(registered->paths[i]), "%s",
			 test_path(registered->fixture, folders[i]));
		assert_int_equal(mkdir(registered->paths[i], 0755), 0);
	}
	*state = registered;
	return 0;
}

static int teardown(void **state)
{
	struct registered *registered = *state;
	void *fixture = registered->fixture;

	if (registered->registry)
		registry_free(registered->registry);
	for (int i = 0; i < 3; i++)
		cJSON_Delete(registered->settings[i]);
	free(registered);
	return fixture_teardown(&fixture);
}

static void start(struct registered *registered, enum plugin_kind kind, const char *settings)
{
	struct registry_options options = {.event = registered->fixture->event};

	if (settings) {
		registered->settings[kind] = cJSON_Parse(settings);
		assert_non_null(registered->settings[kind]);
	}
	for (int i = 0; i < 3; i++) {
		options.directories[i] = registered->paths[i];
		options.settings[i] = registered->settings[i];
	}
	assert_int_equal(registry_new(&options, &registered->registry), 0);
}

static void drop(struct registered *registered, enum plugin_kind kind, const char *name,
		 const char *text, mode_t mode)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", registered->paths[kind], name);
	write_file(path, text, mode);
}

static struct plugin_entry *find(struct registered *registered, enum plugin_kind kind,
				 const char *name)
{
	return registry_find(registered->registry, kind, name);
}

static void assert_refused(struct registered *registered, enum plugin_kind kind, const char *name,
			   const char *has)
{
	struct plugin_entry *entry = find(registered, kind, name);

	assert_non_null(entry);
	assert_non_null(entry->refusal);
	if (!strstr(entry->refusal, has))
		fail_msg("the refusal is \"%s\", without \"%s\"", entry->refusal, has);
}

static struct abnormal *kernel_abnormal(const char *detector)
{
	struct abnormal *abnormal = custom_abnormal();

	abnormal->spec.source = SOURCE_KERNEL_EVENT;
	abnormal->spec.kernel_event = schema_new(&kernel_event_schema);
	assert_non_null(abnormal->spec.kernel_event);
	assert_int_equal(string_set(&abnormal->spec.kernel_event->detector, detector), 0);
	return abnormal;
}

/* The names of a chain as one text: "a b c". */
static const char *names_of(struct plugin_entry **entries, size_t count)
{
	static char text[256];

	text[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(text);
		snprintf(text + length, sizeof(text) - length, "%s%s", i ? " " : "",
			 entries[i]->name);
	}
	plugin_entries_free(entries, count);
	return text;
}

static const char *chain_of(struct registered *registered, enum plugin_kind kind,
			    const struct abnormal *abnormal)
{
	struct plugin_entry **entries;
	size_t count;

	assert_int_equal(
		registry_chain(registered->registry, kind, abnormal, &entries, &count, NULL), 0);
	return names_of(entries, count);
}

/* --- Claims --- */

static void the_chain_is_in_order_then_by_name(void **state)
{
	struct registered *registered = *state;
	_cleanup_abnormal_ struct abnormal *custom = custom_abnormal(),
					   *oom = kernel_abnormal("oom"),
					   *hung = kernel_abnormal("hung_task");

	drop(registered, PLUGIN_DIAGNOSER, "b.sh", "#!/bin/sh\n# lifeboat: order=90\n", 0755);
	drop(registered, PLUGIN_DIAGNOSER, "z.py",
	     "#!/bin/sh\n# lifeboat: order=-1 detectors=hung_task\n", 0755);
	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_string_equal(chain_of(registered, PLUGIN_DIAGNOSER, custom), "b late");
	assert_string_equal(chain_of(registered, PLUGIN_DIAGNOSER, oom), "oom-test b late");
	assert_string_equal(chain_of(registered, PLUGIN_DIAGNOSER, hung), "z b late");
}

static void assigned_plug_ins_run_alone_and_in_their_order(void **state)
{
	struct registered *registered = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	static const char *const assigned[] = {"late", "nobody", "oom-test"};
	struct strings missing = {0};
	struct plugin_entry **entries;
	size_t count;

	for (size_t i = 0; i < ARRAY_SIZE(assigned); i++) {
		struct object_reference *reference =
			list_append(&abnormal->spec.assigned_diagnosers, &object_reference_schema);
		assert_non_null(reference);
		assert_int_equal(string_set(&reference->name, assigned[i]), 0);
	}
	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_int_equal(registry_chain(registered->registry, PLUGIN_DIAGNOSER, abnormal, &entries,
					&count, &missing),
			 0);
	assert_string_equal(names_of(entries, count), "late oom-test");
	assert_int_equal(missing.count, 1);
	assert_string_equal(missing.items[0], "nobody");
	free(missing.items[0]);
	free(missing.items);
}

static void troubleshooting_collectors_come_when_nobody_knows(void **state)
{
	struct registered *registered = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	struct plugin_entry **entries;
	size_t count;

	drop(registered, PLUGIN_COLLECTOR, "s.sh",
	     "#!/bin/sh\n# lifeboat: troubleshooting=only order=-1\n", 0755);
	start(registered, PLUGIN_COLLECTOR, NULL);
	assert_string_equal(chain_of(registered, PLUGIN_COLLECTOR, abnormal), "both first");
	assert_int_equal(registry_troubleshooting(registered->registry, abnormal, &entries, &count),
			 0);
	assert_string_equal(names_of(entries, count), "s both trouble");
}

static void a_recoverer_that_is_off_by_default_waits_for_the_operator(void **state)
{
	struct registered *registered = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();

	start(registered, PLUGIN_RECOVERER, NULL);
	assert_string_equal(chain_of(registered, PLUGIN_RECOVERER, abnormal), "");
	cJSON *settings = cJSON_Parse("{\"off\":{\"enabled\":true,\"rate\":\"5/"
				      "h\",\"cooldown\":\"1m\",\"dryRun\":true}}");
	const cJSON *all[3] = {NULL, NULL, settings};
	assert_int_equal(registry_reconfigure(registered->registry, all), 0);
	cJSON_Delete(settings);
	assert_string_equal(chain_of(registered, PLUGIN_RECOVERER, abnormal), "off");
	struct plugin_entry *entry = find(registered, PLUGIN_RECOVERER, "off");
	assert_int_equal(entry->rate_count, 5);
	assert_int_equal(entry->rate_period_ns, 3600 * NS_PER_S);
	assert_int_equal(entry->cooldown_ns, 60 * NS_PER_S);
	assert_true(entry->dry_run);
}

static void what_a_built_in_does_not_want_it_gets_only_when_it_is_assigned(void **state)
{
	struct registered *registered = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();

	start(registered, PLUGIN_RECOVERER, NULL);
	assert_int_equal(json_set_bool(abnormal->spec.context, "answer", true), 0);
	assert_string_equal(chain_of(registered, PLUGIN_RECOVERER, abnormal), "picky");
	cJSON_DeleteItemFromObject(abnormal->spec.context, "answer");
	assert_string_equal(chain_of(registered, PLUGIN_RECOVERER, abnormal), "");
	struct object_reference *reference =
		list_append(&abnormal->spec.assigned_recoverers, &object_reference_schema);
	assert_non_null(reference);
	assert_int_equal(string_set(&reference->name, "picky"), 0);
	assert_string_equal(chain_of(registered, PLUGIN_RECOVERER, abnormal), "picky");
}

static char unknown_told[256];

static void on_unknown(enum plugin_kind kind, const char *name, const char *meant)
{
	size_t length = strlen(unknown_told);

	snprintf(unknown_told + length, sizeof(unknown_told) - length, "%s %s (%s) ",
		 plugin_kind_names[kind], name, meant ? meant : "nothing near");
}

static void a_name_that_nobody_has_is_told(void **state)
{
	struct registered *registered = *state;

	drop(registered, PLUGIN_RECOVERER, "mine.sh", "#!/bin/sh\n", 0755);
	start(registered, PLUGIN_RECOVERER,
	      "{\"pikcy\":{\"enabled\":true},\"mine\":{},\"off\":{},\"of-tomorrow\":{}}");
	registry_tell_unknown(registered->registry, on_unknown);
	assert_string_equal(unknown_told,
			    "recoverer pikcy (picky) recoverer of-tomorrow (nothing near) ");
}

static void a_recoverer_script_is_on_and_disturbs_a_node_unless_it_says_otherwise(void **state)
{
	struct registered *registered = *state;

	drop(registered, PLUGIN_RECOVERER, "quiet.sh",
	     "#!/bin/sh\n# lifeboat: disturbs=none verify=yes\n", 0755);
	drop(registered, PLUGIN_RECOVERER, "rude.sh", "#!/bin/sh\n", 0755);
	start(registered, PLUGIN_RECOVERER, NULL);
	struct plugin_entry *quiet = find(registered, PLUGIN_RECOVERER, "quiet");
	struct plugin_entry *rude = find(registered, PLUGIN_RECOVERER, "rude");
	assert_true(quiet->enabled && rude->enabled);
	assert_int_equal(quiet->disturbs, DISTURBS_NONE);
	assert_true(quiet->can_verify && !quiet->can_plan);
	assert_int_equal(rude->disturbs, DISTURBS_NODE);
}

static void a_script_is_in_the_chain_at_once_and_gone_when_removed(void **state)
{
	struct registered *registered = *state;
	char path[512];

	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_null(find(registered, PLUGIN_DIAGNOSER, "hot"));
	drop(registered, PLUGIN_DIAGNOSER, "hot.sh", "#!/bin/sh\n", 0755);
	WAIT_FOR(registered->fixture, "the script to be found",
		 find(registered, PLUGIN_DIAGNOSER, "hot"));
	struct plugin_entry *in_flight =
		plugin_entry_ref(find(registered, PLUGIN_DIAGNOSER, "hot"));
	snprintf(path, sizeof(path), "%s/hot.sh", registered->paths[PLUGIN_DIAGNOSER]);
	assert_int_equal(unlink(path), 0);
	WAIT_FOR(registered->fixture, "the script to be gone",
		 !find(registered, PLUGIN_DIAGNOSER, "hot"));
	assert_string_equal(in_flight->name, "hot");
	plugin_entry_unref(in_flight);
}

static void a_script_that_is_made_executable_later_is_found_then(void **state)
{
	struct registered *registered = *state;
	char path[512];

	drop(registered, PLUGIN_DIAGNOSER, "hot.sh", "#!/bin/sh\n", 0644);
	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_null(find(registered, PLUGIN_DIAGNOSER, "hot"));
	snprintf(path, sizeof(path), "%s/hot.sh", registered->paths[PLUGIN_DIAGNOSER]);
	assert_int_equal(chmod(path, 0755), 0);
	WAIT_FOR(registered->fixture, "the script to be found",
		 find(registered, PLUGIN_DIAGNOSER, "hot"));
}

static void a_folder_that_goes_takes_its_scripts_along_and_may_come_back(void **state)
{
	struct registered *registered = *state;

	drop(registered, PLUGIN_DIAGNOSER, "hot.sh", "#!/bin/sh\n", 0755);
	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_non_null(find(registered, PLUGIN_DIAGNOSER, "hot"));
	directory_remove(registered->paths[PLUGIN_DIAGNOSER]);
	WAIT_FOR(registered->fixture, "the script to be gone",
		 !find(registered, PLUGIN_DIAGNOSER, "hot"));
	assert_int_equal(mkdir(registered->paths[PLUGIN_DIAGNOSER], 0755), 0);
	drop(registered, PLUGIN_DIAGNOSER, "hot.sh", "#!/bin/sh\n", 0755);
	WAIT_FOR(registered->fixture, "the folder to be found again",
		 find(registered, PLUGIN_DIAGNOSER, "hot"));
}

static void a_script_that_others_can_write_is_refused(void **state)
{
	struct registered *registered = *state;

	drop(registered, PLUGIN_DIAGNOSER, "all.sh", "#!/bin/sh\n", 0777);
	drop(registered, PLUGIN_DIAGNOSER, "group.sh", "#!/bin/sh\n", 0775);
	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_refused(registered, PLUGIN_DIAGNOSER, "all",
		       "is writable by everyone (mode 0777): chmod go-w ");
	assert_refused(registered, PLUGIN_DIAGNOSER, "group",
		       "is writable by its group (mode 0775)");
}

static void a_script_of_somebody_else_is_refused(void **state)
{
	struct registered *registered = *state;
	char path[512];

	if (geteuid() != 0)
		skip_because("needs root: giving a file away needs root");
	drop(registered, PLUGIN_DIAGNOSER, "theirs.sh", "#!/bin/sh\n", 0755);
	snprintf(path, sizeof(path), "%s/theirs.sh", registered->paths[PLUGIN_DIAGNOSER]);
	assert_int_equal(chown(path, 12345, 0), 0);
	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_refused(registered, PLUGIN_DIAGNOSER, "theirs", "belongs to user 12345");
}

static void a_folder_that_others_can_write_refuses_all_in_it(void **state)
{
	struct registered *registered = *state;

	drop(registered, PLUGIN_DIAGNOSER, "fine.sh", "#!/bin/sh\n", 0755);
	assert_int_equal(chmod(registered->paths[PLUGIN_DIAGNOSER], 01777), 0);
	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_refused(registered, PLUGIN_DIAGNOSER, "fine", "is writable by everyone (mode 1777)");
	assert_int_equal(chmod(registered->paths[PLUGIN_DIAGNOSER], 0755), 0);
	WAIT_FOR(registered->fixture, "the folder to be trusted again",
		 !find(registered, PLUGIN_DIAGNOSER, "fine")->refusal);
}

static void a_link_is_as_good_as_what_it_leads_to(void **state)
{
	struct registered *registered = *state;
	char link[512], target[512], resolved[PATH_MAX];
	struct problem problem = {0};

	snprintf(target, sizeof(target), "%s", test_path(registered->fixture, "target"));
	assert_int_equal(mkdir(target, 0777), 0);
	assert_int_equal(chmod(target, 0777), 0);
	snprintf(target, sizeof(target), "%s", test_path(registered->fixture, "target/script.sh"));
	write_file(target, "#!/bin/sh\n", 0755);
	snprintf(link, sizeof(link), "%s/linked", registered->paths[PLUGIN_DIAGNOSER]);
	assert_int_equal(symlink(target, link), 0);
	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_refused(registered, PLUGIN_DIAGNOSER, "linked", "/target is writable by everyone");
	assert_int_equal(chmod(test_path(registered->fixture, "target"), 0755), 0);
	assert_int_equal(script_trust(link, NULL, resolved, &problem), 0);
	assert_string_equal(resolved, target);
}

static void a_bad_header_is_a_refusal_that_names_the_key(void **state)
{
	struct registered *registered = *state;

	drop(registered, PLUGIN_DIAGNOSER, "bad.sh", "#!/bin/sh\n# lifeboat: timeout=soon\n", 0755);
	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_refused(registered, PLUGIN_DIAGNOSER, "bad", "timeout: ");
}

static void a_name_is_given_once(void **state)
{
	struct registered *registered = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();

	drop(registered, PLUGIN_DIAGNOSER, "late.sh", "#!/bin/sh\n", 0755);
	drop(registered, PLUGIN_DIAGNOSER, "two.py", "#!/bin/sh\n", 0755);
	drop(registered, PLUGIN_DIAGNOSER, "two.sh", "#!/bin/sh\n", 0755);
	drop(registered, PLUGIN_DIAGNOSER, "no good.sh", "#!/bin/sh\n", 0755);
	start(registered, PLUGIN_DIAGNOSER, NULL);
	assert_string_equal(chain_of(registered, PLUGIN_DIAGNOSER, abnormal), "late two");
	assert_int_equal(find(registered, PLUGIN_DIAGNOSER, "late")->transport, TRANSPORT_BUILTIN);
	assert_refused(registered, PLUGIN_DIAGNOSER, "no good.sh", "its name must be");
	_cleanup_json_ cJSON *list = registry_list(registered->registry, PLUGIN_DIAGNOSER);
	unsigned refused = 0;
	const cJSON *item;
	cJSON_ArrayForEach (item, list)
		refused += json_string(item, "refusal") != NULL;
	assert_int_equal(refused, 3);
}

static void what_is_no_script_is_left_alone(void **state)
{
	struct registered *registered = *state;

	drop(registered, PLUGIN_DIAGNOSER, "README", "text\n", 0644);
	drop(registered, PLUGIN_DIAGNOSER, ".hidden", "#!/bin/sh\n", 0755);
	drop(registered, PLUGIN_DIAGNOSER, "old.sh~", "#!/bin/sh\n", 0755);
	assert_int_equal(mkfifo(test_path(registered->fixture, "d/fifo"), 0755), 0);
	start(registered, PLUGIN_DIAGNOSER, NULL);
	_cleanup_json_ cJSON *list = registry_list(registered->registry, PLUGIN_DIAGNOSER);
	assert_int_equal(cJSON_GetArraySize(list), 2); /* the built-ins */
}

static void settings_apply_to_scripts_and_built_ins_alike(void **state)
{
	struct registered *registered = *state;

	drop(registered, PLUGIN_DIAGNOSER, "mine.sh", "#!/bin/sh\n# lifeboat: order=7 timeout=1s\n",
	     0755);
	start(registered, PLUGIN_DIAGNOSER,
	      "{\"mine\":{\"timeout\":\"3s\",\"memory\":\"64MiB\"},\"late\":{\"order\":0,\"depth\":"
	      "5,\"enabled\":false}}");
	struct plugin_entry *mine = find(registered, PLUGIN_DIAGNOSER, "mine");
	struct plugin_entry *late = find(registered, PLUGIN_DIAGNOSER, "late");
	assert_int_equal(mine->order, 7);
	assert_int_equal(mine->timeout_ns, 3 * NS_PER_S);
	assert_int_equal(mine->memory_bytes, 64 * MIB);
	assert_int_equal(late->order, 0);
	assert_false(late->enabled);
	assert_int_equal(json_number(late->settings, "depth", 0), 5);
	assert_null(json_string(late->settings, "order"));
}

static void wrong_settings_are_named(void **state)
{
	static const struct {
		enum plugin_kind kind;
		const char *settings, *field;
	} cases[] = {
		{PLUGIN_DIAGNOSER, "{\"late\":{\"depth\":10}}", "late.depth"},
		{PLUGIN_DIAGNOSER, "{\"late\":{\"dept\":1}}", "late.dept"},
		{PLUGIN_DIAGNOSER, "{\"oom-test\":{\"depth\":1}}", "oom-test.depth"},
		{PLUGIN_DIAGNOSER, "{\"some-script\":{\"colour\":\"red\"}}", "some-script.colour"},
		{PLUGIN_DIAGNOSER, "{\"late\":{\"cooldown\":\"1m\"}}", "late.cooldown"},
		{PLUGIN_DIAGNOSER, "{\"late\":true}", "late"},
		{PLUGIN_DIAGNOSER, "[]", ""},
		{PLUGIN_RECOVERER, "{\"off\":{\"rate\":\"often\"}}", "off.rate"},
		{PLUGIN_RECOVERER, "{\"off\":{\"memory\":\"much\"}}", "off.memory"},
		{PLUGIN_RECOVERER, "{\"off\":{\"timeout\":\"2h\"}}", "off.timeout"},
		{PLUGIN_COLLECTOR, "{\"first\":{\"rate\":\"5/h\"}}", "first.rate"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ cJSON *settings = cJSON_Parse(cases[i].settings);
		struct problem problem = {0};

		assert_non_null(settings);
		assert_int_equal(registry_check_settings(cases[i].kind, settings, &problem),
				 -EINVAL);
		assert_string_equal(problem.field, cases[i].field);
	}
}

static void bad_settings_leave_the_registry_as_it_was(void **state)
{
	struct registered *registered = *state;
	_cleanup_json_ cJSON *bad = cJSON_Parse("{\"late\":{\"order\":\"x\"}}");
	const cJSON *all[3] = {NULL, bad, NULL};

	start(registered, PLUGIN_DIAGNOSER, "{\"late\":{\"order\":5}}");
	assert_int_equal(registry_reconfigure(registered->registry, all), -EINVAL);
	assert_int_equal(find(registered, PLUGIN_DIAGNOSER, "late")->order, 5);
}

static void the_list_tells_what_a_person_asks(void **state)
{
	struct registered *registered = *state;

	drop(registered, PLUGIN_RECOVERER, "s.sh",
	     "#!/bin/sh\n# lifeboat: detectors=oom disturbs=process summary=\"does a thing\"\n",
	     0755);
	start(registered, PLUGIN_RECOVERER, "{\"s\":{\"rate\":\"5/h\"}}");
	_cleanup_json_ cJSON *list = registry_list(registered->registry, PLUGIN_RECOVERER);
	const cJSON *entry;
	cJSON_ArrayForEach (entry, list)
		if (streq(json_string(entry, "name"), "s"))
			break;
	assert_non_null(entry);
	assert_string_equal(json_string(entry, "kind"), "recoverer");
	assert_string_equal(json_string(entry, "transport"), "script");
	assert_string_equal(json_string(entry, "disturbs"), "process");
	assert_string_equal(json_string(entry, "summary"), "does a thing");
	assert_string_equal(json_string(entry, "rate"), "5/1h");
	assert_string_equal(json_string(entry, "timeout"), "10s");
	assert_true(json_bool(entry, "enabled", false));
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(entry, "detectors")), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(the_chain_is_in_order_then_by_name),
		UNIT(assigned_plug_ins_run_alone_and_in_their_order),
		UNIT(troubleshooting_collectors_come_when_nobody_knows),
		UNIT(a_recoverer_that_is_off_by_default_waits_for_the_operator),
		UNIT(what_a_built_in_does_not_want_it_gets_only_when_it_is_assigned),
		UNIT(a_name_that_nobody_has_is_told),
		UNIT(a_recoverer_script_is_on_and_disturbs_a_node_unless_it_says_otherwise),
		UNIT(a_script_is_in_the_chain_at_once_and_gone_when_removed),
		UNIT(a_script_that_is_made_executable_later_is_found_then),
		UNIT(a_folder_that_goes_takes_its_scripts_along_and_may_come_back),
		UNIT(a_script_that_others_can_write_is_refused),
		UNIT(a_script_of_somebody_else_is_refused),
		UNIT(a_folder_that_others_can_write_refuses_all_in_it),
		UNIT(a_link_is_as_good_as_what_it_leads_to),
		UNIT(a_bad_header_is_a_refusal_that_names_the_key),
		UNIT(a_name_is_given_once),
		UNIT(what_is_no_script_is_left_alone),
		UNIT(settings_apply_to_scripts_and_built_ins_alike),
		UNIT(wrong_settings_are_named),
		UNIT(bad_settings_leave_the_registry_as_it_was),
		UNIT(the_list_tells_what_a_person_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
