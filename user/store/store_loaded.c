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

/* So that a node that has had ten thousand in a day need not hold them all at once. */
static int acted_add(struct loading *loading, struct abnormal **abnormal)
{
	struct store_loaded *loaded = &loading->loaded;

	if (!(*abnormal)->status.actions.count)
		return 0;
	abnormal_keep_actions(*abnormal);
	int r = list_add(&loaded->acted, &loaded->acted_count, &loading->acted_capacity, *abnormal);
	if (r == 0)
		*abnormal = NULL;
	return r;
}

static int recent_add(struct loading *loading, struct abnormal **abnormal)
{
	struct store_loaded *loaded = &loading->loaded;
	size_t oldest = 0;

	if (loaded->recent_count < STORE_RECENT_MAXIMUM) {
		int r = list_add(&loaded->recent, &loaded->recent_count, &loading->recent_capacity,
				 *abnormal);
		if (r == 0)
			*abnormal = NULL;
		return r;
	}
	for (size_t i = 1; i < loaded->recent_count; i++)
		if (abnormal_latest_time(loaded->recent[i]) <
		    abnormal_latest_time(loaded->recent[oldest]))
			oldest = i;
	struct abnormal *other = loaded->recent[oldest];
	if (abnormal_latest_time(other) < abnormal_latest_time(*abnormal)) {
		loaded->recent[oldest] = *abnormal;
		*abnormal = other;
	}
	return acted_add(loading, abnormal);
}

static int later_first(const void *a, const void *b)
{
	int64_t x = abnormal_latest_time(*(struct abnormal *const *)a),
		y = abnormal_latest_time(*(struct abnormal *const *)b);

	return (x < y) - (x > y);
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
	if (r == 0 && !live)
		return recent_add(loading, &abnormal);
	if (r == 0)
		r = list_add(&loaded->live, &loaded->live_count, &loading->live_capacity, abnormal);
	if (r == 0)
		abnormal = NULL;
	return r;
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
	if (loading->loaded.recent_count)
		qsort(loading->loaded.recent, loading->loaded.recent_count,
		      sizeof(*loading->loaded.recent), later_first);
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
		abnormal_free(loaded->acted[i]);
	free(loaded->acted);
	free(loaded->live);
	free(loaded->recent);
	cJSON_Delete(loaded->positions);
	*loading = (struct loading){0};
}
