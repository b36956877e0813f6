/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short spellings for work with cJSON values. Text is read by json_parse.c, written by
 * json_print.c.
 */
#include "base/json.h"

#include "base/clock.h"

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(cJSON *const *)a)->string, (*(cJSON *const *)b)->string);
}

/* The members of OBJECT sorted by name; the caller's to free. NULL when out of memory. */
static cJSON **sorted_members(const cJSON *object, size_t *ret_count)
{
	size_t count = 0;

	for (cJSON *member = object->child; member; member = member->next)
		count++;
	cJSON **members = malloc((count + 1) * sizeof(*members));
	if (!members)
		return NULL;
	count = 0;
	for (cJSON *member = object->child; member; member = member->next)
		members[count++] = member;
	qsort(members, count, sizeof(*members), compare_names);
	*ret_count = count;
	return members;
}

/*
 * By sorting: comparing each pair would let an object of many members hold the agent up for
 * minutes.
 */
int json_find_duplicate(const cJSON *object, const char **ret_name)
{
	size_t count;
	_cleanup_free_ cJSON **members = sorted_members(object, &count);

	if (!members)
		return -ENOMEM;
	*ret_name = NULL;
	for (size_t i = 1; i < count && !*ret_name; i++)
		if (streq(members[i - 1]->string, members[i]->string))
			*ret_name = members[i]->string;
	return 0;
}

const char *json_string(const cJSON *json, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
}

double json_number(const cJSON *json, const char *name, double fallback)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsNumber(member) ? member->valuedouble : fallback;
}

uint64_t json_u64(const cJSON *json, const char *name)
{
	double number = json_number(json, name, 0);

	return number >= 0 && number <= 0x1p53 ? (uint64_t)number : 0;
}

uint32_t json_u32(const cJSON *json, const char *name)
{
	uint64_t number = json_u64(json, name);

	return number <= UINT32_MAX ? (uint32_t)number : 0;
}

bool json_bool(const cJSON *json, const char *name, bool fallback)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsBool(member) ? cJSON_IsTrue(member) : fallback;
}

cJSON *json_at(const cJSON *json, const char *path)
{
	while (json) {
		size_t length = strcspn(path, ".");
		cJSON *child = cJSON_IsObject(json) ? json->child : NULL;

		while (child && !(strncmp(child->string, path, length) == 0 &&
				  child->string[length] == '\0'))
			child = child->next;
		if (!child || path[length] == '\0')
			return child;
		json = child;
		path += length + 1;
	}
	return NULL;
}

int json_set(cJSON *json, const char *name, cJSON *value)
{
	cJSON *before = cJSON_GetObjectItemCaseSensitive(json, name);
	bool set;

	if (!value)
		return -ENOMEM;
	if (before) {
		/* By name, cJSON 1.7.15 puts a member without one there when memory is short. */
		char *copy = strdup(name);

		if (copy) {
			if (!(value->type & cJSON_StringIsConst))
				cJSON_free(value->string);
			value->string = copy;
			value->type &= ~cJSON_StringIsConst;
		}
		set = copy && cJSON_ReplaceItemViaPointer(json, before, value);
	} else {
		set = cJSON_AddItemToObject(json, name, value);
	}
	if (!set) {
		cJSON_Delete(value);
		return -ENOMEM;
	}
	return 0;
}

int json_set_string(cJSON *json, const char *name, const char *value)
{
	return value ? json_set(json, name, cJSON_CreateString(value)) : 0;
}

int json_set_number(cJSON *json, const char *name, double value)
{
	return json_set(json, name, cJSON_CreateNumber(value));
}

int json_set_bool(cJSON *json, const char *name, bool value)
{
	return json_set(json, name, cJSON_CreateBool(value));
}

int json_set_time(cJSON *json, const char *name, int64_t realtime_ns)
{
	char text[TIME_TEXT_SIZE];

	return json_set_string(json, name, time_format(realtime_ns, text));
}

static bool says_nothing(const cJSON *member, const cJSON *below)
{
	return below && (cJSON_IsNull(member) ||
			 (cJSON_IsArray(below) && cJSON_IsArray(member) && !member->child));
}

int json_overlay(cJSON *base, const cJSON *overlay)
{
	const cJSON *member;
	int r = 0;

	cJSON_ArrayForEach (member, overlay) {
		cJSON *below = cJSON_GetObjectItemCaseSensitive(base, member->string);

		if (says_nothing(member, below))
			continue;
		if (cJSON_IsObject(below) && cJSON_IsObject(member))
			r = json_overlay(below, member);
		else
			r = json_set(base, member->string, cJSON_Duplicate(member, true));
		if (r < 0)
			return r;
	}
	return 0;
}

static bool objects_equal(const cJSON *a, const cJSON *b)
{
	size_t a_count, b_count;
	_cleanup_free_ cJSON **a_members = sorted_members(a, &a_count);
	_cleanup_free_ cJSON **b_members = sorted_members(b, &b_count);

	if (!a_members || !b_members || a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++)
		if (!streq(a_members[i]->string, b_members[i]->string) ||
		    !json_equal(a_members[i], b_members[i]))
			return false;
	return true;
}

bool json_equal(const cJSON *a, const cJSON *b)
{
	if (!a || !b)
		return a == b;
	if ((a->type & 0xff) != (b->type & 0xff))
		return false;
	if (cJSON_IsNumber(a))
		return a->valuedouble == b->valuedouble;
	if (cJSON_IsString(a) || cJSON_IsRaw(a))
		return streq(a->valuestring, b->valuestring);
	if (cJSON_IsObject(a))
		return objects_equal(a, b);
	if (!cJSON_IsArray(a))
		return true;
	const cJSON *x = a->child, *y = b->child;
	for (; x && y; x = x->next, y = y->next)
		if (!json_equal(x, y))
			return false;
	return !x && !y;
}

static void become(cJSON *value, int type, char *text, cJSON *children)
{
	cJSON_Delete(value->child);
	free(value->valuestring);
	value->type = (value->type & ~0xff) | type; /* the other bits tell who owns it */
	value->valuestring = text;
	value->child = children;
}

void json_pack(cJSON *value)
{
	_cleanup_free_ char *text = value && value->child ? json_print(value) : NULL;
	/* Without the room that it had to grow. */
	char *exact = text ? strdup(text) : NULL;

	if (exact)
		become(value, cJSON_Raw, exact, NULL);
}

int json_unpack(cJSON *value)
{
	_cleanup_json_ cJSON *whole = NULL;

	if (!cJSON_IsRaw(value))
		return 0;
	int r = json_parse(value->valuestring, strlen(value->valuestring), &whole, NULL);
	if (r < 0)
		return r;
	become(value, whole->type & 0xff, NULL, TAKE_PTR(whole->child));
	return 0;
}
