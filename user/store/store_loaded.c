/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering the state that the store's worker found. */
#include "store/store_loaded.h"

static int list_add(struct abnormal ***list, size_t *count, size_t *capacity,
		    struct abnormal *abnormal)
{
	if (*count == *capacity) {
		size_t more = MAX(*capacity * 2, (size_t)16);
		struct abnormal **larger = reallocarray(*list, more, sizeof(struct abnormal *));

		if (!larger)
			return -ENOMEM;
		*list = larger;
		*capacity = more;
	}
	(*list)[(*count)++] = abnormal;
	return 0;
}

int loading_add(struct loading *loading, bool live, const char *text, size_t length,
		struct problem *problem)
{
	struct store_loaded *loaded = &loading->loaded;
	_cleanup_abnormal_ struct abnormal *abnormal = NULL;
	_cleanup_json_ cJSON *json = NULL;
	void *object = NULL;
	int r = json_parse(text, length, &json, problem);

	/*
	 * Not abnormal_decode: its limit is for what comes from outside, and handling adds to that.
	 */
	if (r == 0)
		r = schema_decode(&abnormal_schema, json, &object, problem);
	abnormal = object;
	if (r < 0)
		return r;
	if (live) {
		r = list_add(&loaded->live, &loaded->live_count, &loading->live_capacity, abnormal);
	} else {
		abnormal_pack(abnormal);
		r = list_add(&loaded->recent, &loaded->recent_count, &loading->recent_capacity,
			     abnormal);
	}
	if (r == 0)
		abnormal = NULL;
	return r;
}

/* Both texts in one piece, the recoverer's first. */
static void action_free(struct store_action *action)
{
	free((char *)action->recoverer);
}

int loading_add_action(struct loading *loading, const struct store_action *action)
{
	struct store_loaded *loaded = &loading->loaded;
	size_t recoverer = strlen(action->recoverer) + 1, subject = strlen(action->subject) + 1;

	if (loaded->acted_count == loading->acted_capacity) {
		size_t more = MAX(loading->acted_capacity * 2, (size_t)16);
		struct store_action *larger = reallocarray(loaded->acted, more, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		loaded->acted = larger;
		loading->acted_capacity = more;
	}
	char *texts = malloc(recoverer + subject);
	if (!texts)
		return -ENOMEM;
	memcpy(texts, action->recoverer, recoverer);
	memcpy(texts + recoverer, action->subject, subject);
	loaded->acted[loaded->acted_count++] =
		(struct store_action){.recoverer = texts,
				      .subject = texts + recoverer,
				      .intent_time = action->intent_time};
	return 0;
}

int loading_add_position(struct loading *loading, const char *source, const char *position)
{
	if (!loading->loaded.positions)
		loading->loaded.positions = cJSON_CreateObject();
	if (!loading->loaded.positions)
		return -ENOMEM;
	return json_set_string(loading->loaded.positions, source, position);
}

void loading_finish(struct loading *loading)
{
	if (!loading->loaded.positions)
		loading->loaded.positions = cJSON_CreateObject();
}

void loading_clear(struct loading *loading)
{
	struct store_loaded *loaded = &loading->loaded;

	for (size_t i = 0; i < loaded->live_count; i++)
		abnormal_free(loaded->live[i]);
	for (size_t i = 0; i < loaded->recent_count; i++)
		abnormal_free(loaded->recent[i]);
	for (size_t i = 0; i < loaded->acted_count; i++)
		action_free(&loaded->acted[i]);
	free(loaded->acted);
	free(loaded->live);
	free(loaded->recent);
	cJSON_Delete(loaded->positions);
	*loading = (struct loading){0};
}
