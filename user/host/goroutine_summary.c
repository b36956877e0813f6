/* SPDX-License-Identifier: Apache-2.0 */
/* What a goroutine dump comes to: goroutine 1, and the others by what they do. */
#include "host/goroutine_dump.h"

#include <stdlib.h>

struct group {
	const struct goroutine *goroutine; /* one of them */
	uint64_t hash; /* of state and functions */
	size_t count;
	uint64_t wait_minutes; /* the longest */
};

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

static uint64_t hash_goroutine(const struct goroutine *goroutine)
{
	uint64_t hash = hash_text(UINT64_C(0xcbf29ce484222325), goroutine->state);

	for (size_t i = 0; i < goroutine->frame_count; i++)
		hash = hash_text(hash, goroutine->frames[i].function);
	return hash;
}

static int compare_kind(const void *a, const void *b)
{
	const struct group *left = a, *right = b;
	const struct goroutine *one = left->goroutine, *other = right->goroutine;

	if (left->hash != right->hash)
		return left->hash < right->hash ? -1 : 1;
	int difference = strcmp(one->state, other->state);
	if (difference == 0 && one->frame_count != other->frame_count)
		return one->frame_count < other->frame_count ? -1 : 1;
	for (size_t i = 0; i < one->frame_count && difference == 0; i++)
		difference = strcmp(one->frames[i].function, other->frames[i].function);
	return difference;
}

/* Largest first, then the one that waits longest. */
static int compare_size(const void *a, const void *b)
{
	const struct group *left = a, *right = b;

	if (left->count != right->count)
		return left->count > right->count ? -1 : 1;
	if (left->wait_minutes != right->wait_minutes)
		return left->wait_minutes > right->wait_minutes ? -1 : 1;
	return (left->goroutine->id > right->goroutine->id) -
	       (left->goroutine->id < right->goroutine->id);
}

static size_t group_all(const struct goroutine_dump *dump, struct group *groups)
{
	size_t count = 0;

	for (size_t i = 0; i < dump->count; i++)
		groups[i] = (struct group){.goroutine = &dump->items[i],
					   .hash = hash_goroutine(&dump->items[i]),
					   .count = 1,
					   .wait_minutes = dump->items[i].wait_minutes};
	qsort(groups, dump->count, sizeof(*groups), compare_kind);
	for (size_t i = 0; i < dump->count; i++) {
		struct group *last = count ? &groups[count - 1] : NULL;

		if (!last || compare_kind(last, &groups[i]) != 0) {
			groups[count++] = groups[i];
			continue;
		}
		last->count++;
		last->wait_minutes = MAX(last->wait_minutes, groups[i].wait_minutes);
		if (groups[i].goroutine->id < last->goroutine->id)
			last->goroutine = groups[i].goroutine;
	}
	qsort(groups, count, sizeof(*groups), compare_size);
	return count;
}

static cJSON *frames_json(const struct goroutine *goroutine, size_t frames_max)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < MIN(goroutine->frame_count, frames_max); i++) {
		const struct goroutine_frame *frame = &goroutine->frames[i];
		cJSON *json = cJSON_CreateObject();

		if (!json || !cJSON_AddItemToArray(list, json)) {
			cJSON_Delete(json);
			return NULL;
		}
		if (json_set_string(json, "function", frame->function) < 0 ||
		    (*frame->file && (json_set_string(json, "file", frame->file) < 0 ||
				      json_set_number(json, "line", frame->line) < 0)))
			return NULL;
	}
	return TAKE_PTR(list);
}

static int set_goroutine(cJSON *json, const struct goroutine *goroutine, uint64_t wait_minutes,
			 size_t frames_max)
{
	if (json_set_string(json, "state", goroutine->state) < 0 ||
	    json_set_number(json, "waitMinutes", (double)wait_minutes) < 0 ||
	    (*goroutine->created_by &&
	     json_set_string(json, "createdBy", goroutine->created_by) < 0))
		return -ENOMEM;
	return json_set(json, "frames", frames_json(goroutine, frames_max));
}

static int set_main(cJSON *json, const struct goroutine_dump *dump, size_t frames_max)
{
	const struct goroutine *first = goroutine_dump_find(dump, 1);
	_cleanup_json_ cJSON *main = NULL;

	if (!first)
		return 0;
	main = cJSON_CreateObject();
	if (!main || json_set_number(main, "id", 1) < 0 ||
	    set_goroutine(main, first, first->wait_minutes, frames_max) < 0)
		return -ENOMEM;
	return json_set(json, "main", TAKE_PTR(main));
}

cJSON *goroutine_dump_summary(const struct goroutine_dump *dump, size_t groups_max,
			      size_t frames_max)
{
	_cleanup_free_ struct group *groups = calloc(dump->count, sizeof(*groups));
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	cJSON *list = json ? cJSON_AddArrayToObject(json, "groups") : NULL;

	if (!groups || !list)
		return NULL;
	size_t count = group_all(dump, groups);
	if (json_set_number(json, "goroutines", (double)dump->count) < 0 ||
	    json_set_bool(json, "escaped", dump->escaped) < 0 ||
	    json_set_bool(json, "truncated", dump->truncated) < 0 ||
	    json_set_number(json, "groupCount", (double)count) < 0 ||
	    set_main(json, dump, frames_max) < 0)
		return NULL;
	for (size_t i = 0; i < MIN(count, groups_max); i++) {
		cJSON *item = cJSON_CreateObject();

		if (!item || !cJSON_AddItemToArray(list, item)) {
			cJSON_Delete(item);
			return NULL;
		}
		if (json_set_number(item, "count", (double)groups[i].count) < 0 ||
		    set_goroutine(item, groups[i].goroutine, groups[i].wait_minutes, frames_max) <
			    0)
			return NULL;
	}
	return TAKE_PTR(json);
}
