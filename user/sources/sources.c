/* SPDX-License-Identifier: Apache-2.0 */
/* The registered sources: their listing, and who takes what the detectors saw. */
#include "sources/source.h"

static int list_add(cJSON *list, const struct source *source)
{
	cJSON *item = cJSON_CreateObject();

	if (!item || !cJSON_AddItemToArray(list, item)) {
		cJSON_Delete(item);
		return -ENOMEM;
	}
	if (json_set_string(item, "name", source->name) < 0 ||
	    json_set_string(item, "summary", source->summary) < 0)
		return -ENOMEM;
	return json_set_string(item, "source", abnormal_source_names[source->kind]);
}

cJSON *sources_list(void)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	if (!list)
		return NULL;
	FOREACH_REGISTERED (sources, struct source, source) {
		if (list_add(list, source) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

int sources_finding(struct pipeline *pipeline, const struct finding *finding,
		    pipeline_submitted callback, void *userdata, unsigned *ret_pending)
{
	int result = 0;

	*ret_pending = 0;
	FOREACH_REGISTERED (sources, struct source, source) {
		int r = source->finding ? source->finding(pipeline, finding, callback, userdata)
					: 0;
		if (r > 0)
			++*ret_pending;
		else if (result == 0)
			result = r;
	}
	return result;
}
