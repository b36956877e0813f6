/* SPDX-License-Identifier: Apache-2.0 */
/* What the detectors are doing, or would do on this host, told for a person and for scripts. */
#include <malloc.h>

#include "detect/libbpf_words.h"
#include "detect/slot.h"

const char *const detector_status_names[] = {
	[DETECTOR_ACTIVE] = "active",
	[DETECTOR_DEGRADED] = "degraded",
	[DETECTOR_UNSUPPORTED] = "unsupported",
	[DETECTOR_DISABLED] = "disabled",
	NULL,
};

static int add_hook(cJSON *list, const struct hook *hook, const struct hook_state *state)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_string(json, "name", hook->name) < 0 ||
	    json_set_bool(json, "available", state->available) < 0 ||
	    json_set_bool(json, "degraded", hook->degraded) < 0 ||
	    json_set_string(json, "shortfall", hook->shortfall) < 0 ||
	    json_set_string(json, "reason", state->available ? "" : state->reason) < 0)
		return -ENOMEM;
	return cJSON_AddItemToArray(list, TAKE_PTR(json)) ? 0 : -ENOMEM;
}

static cJSON *hooks_json(const struct detector *detector, const struct hook_state *states)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < hook_count(detector); i++)
		if (add_hook(list, &detector->hooks[i], &states[i]) < 0)
			return NULL;
	return TAKE_PTR(list);
}

static cJSON *slot_json(const struct slot *slot)
{
	const struct detector *detector = slot->run.detector;
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_string(json, "name", detector->name) < 0 ||
	    json_set_string(json, "summary", detector->summary) < 0 ||
	    json_set_string(json, "status", detector_status_names[slot->status]) < 0 ||
	    json_set_string(json, "hook", slot->run.hook ? slot->run.hook->name : "") < 0 ||
	    json_set_string(json, "reason", slot->reason) < 0 ||
	    json_set(json, "settings", detector_settings_json(detector, &slot->settings)) < 0 ||
	    json_set(json, "hooks", hooks_json(detector, slot->hooks)) < 0 ||
	    json_set_number(json, "events", (double)slot->events) < 0 ||
	    json_set_number(json, "lost", (double)(slot->run.detect ? slot_lost(slot) : 0)) < 0 ||
	    json_set_number(json, "looks", (double)slot->looks) < 0 ||
	    json_set_number(json, "lookNanoseconds", (double)slot->look_ns) < 0)
		return NULL;
	return TAKE_PTR(json);
}

/* Probes the hooks below the one in use, which starting had no need to; only the first time. */
static void probe_rest(struct slot *slot, const struct host *host, struct ground *ground,
		       bool *ground_known)
{
	for (size_t i = 0; i < hook_count(slot->run.detector); i++) {
		if (slot->hooks[i].probed)
			continue;
		if (!*ground_known)
			ground_read(ground, host);
		*ground_known = true;
		hook_probe(&slot->run.detector->hooks[i], slot->run.detect, ground, host,
			   &slot->hooks[i]);
	}
}

/* What starting would come to, judged from the probes. */
static void foresee(struct slot *slot)
{
	const struct hook *hooks = slot->run.detector->hooks;

	slot->status = DETECTOR_UNSUPPORTED;
	for (size_t i = 0; hooks[i].name && !slot->run.hook; i++) {
		if (!slot->hooks[i].available)
			continue;
		slot->run.hook = &hooks[i];
		slot->status = hooks[i].degraded ? DETECTOR_DEGRADED : DETECTOR_ACTIVE;
	}
	if (slot->status != DETECTOR_ACTIVE)
		hooks_explain(slot->run.detector, slot->hooks, slot->reason, sizeof(slot->reason));
}

static int add_foreseen(cJSON *list, const struct detector *detector, const struct host *host,
			struct ground *ground, bool *ground_known)
{
	_cleanup_free_ struct hook_state *hooks = calloc(hook_count(detector), sizeof(*hooks));
	struct problem problem = {};
	struct slot slot = {.run = {.detector = detector, .host = host}, .hooks = hooks};

	if (!hooks || detector_settings_read(detector, NULL, &slot.settings, &problem) < 0)
		return -ENOMEM;
	probe_rest(&slot, host, ground, ground_known);
	foresee(&slot);
	cJSON *json = slot_json(&slot);

	detector_settings_clear(detector, &slot.settings);
	if (!json)
		return -ENOMEM;
	return cJSON_AddItemToArray(list, json) ? 0 : -ENOMEM;
}

cJSON *detect_status(struct detect *detect, const struct host *host)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();
	_cleanup_ground_ struct ground ground = {};
	bool ground_known = false;

	if (!list)
		return NULL;
	if (!detect) {
		libbpf_words_take();
		FOREACH_REGISTERED (detectors, struct detector, detector)
			if (add_foreseen(list, detector, host, &ground, &ground_known) < 0)
				return NULL;
		return TAKE_PTR(list);
	}
	for (size_t i = 0; i < detect->slot_count; i++) {
		probe_rest(&detect->slots[i], host, &ground, &ground_known);
		cJSON *json = slot_json(&detect->slots[i]);

		if (!json)
			return NULL;
		cJSON_AddItemToArray(list, json);
	}
	if (ground_known) {
		ground_clear(&ground);
		malloc_trim(0);
	}
	return TAKE_PTR(list);
}
