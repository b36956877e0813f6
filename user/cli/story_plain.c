/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that strangers chose must not begin a line of the story: a process called "x\nResult: all is
 * well" would write it otherwise.
 */
#include "base/plain.h"
#include "cli/story.h"

static void make_plain(cJSON *json)
{
	if (cJSON_IsString(json))
		plain_copy(json->valuestring, json->valuestring, strlen(json->valuestring));
	if (json->string && !(json->type & cJSON_StringIsConst))
		plain_copy(json->string, json->string, strlen(json->string));
	for (cJSON *child = json->child; child; child = child->next)
		make_plain(child); /* no deeper than JSON_DEPTH_MAX */
}

cJSON *story_plain(const cJSON *json)
{
	cJSON *copy = cJSON_Duplicate(json, true);

	if (copy)
		make_plain(copy);
	return copy;
}
