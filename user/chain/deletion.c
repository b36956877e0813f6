/* SPDX-License-Identifier: Apache-2.0 */
/* Removing an Abnormal, one at hand or one that only the store knows. */
#include "chain/handling.h"

struct deletion {
	struct errand errand;
	struct handling *handling; /* referenced, or NULL when it was not at hand … */
	char *namespace, *name;
	struct abnormal *abnormal; /* … and then this is what the store had */
	store_written callback;
	void *userdata;
};

static void deletion_free(struct deletion *deletion)
{
	errand_end(&deletion->errand);
	if (deletion->handling)
		handling_unref(deletion->handling);
	abnormal_free(deletion->abnormal);
	free(deletion->namespace);
	free(deletion->name);
	free(deletion);
}
DEFINE_CLEANUP(struct deletion, deletion_free);

static void deletion_written(void *userdata, int result)
{
	_cleanup_(deletion_freep) struct deletion *deletion = userdata;
	struct pipeline *pipeline = deletion->errand.pipeline;

	if (!pipeline)
		result = -ECANCELED;
	if (result == 0)
		pipeline_publish(pipeline, "DELETED",
				 deletion->handling ? deletion->handling->abnormal
						    : deletion->abnormal);
	if (deletion->callback)
		deletion->callback(deletion->userdata, result);
}

static int deletion_write(struct deletion *deletion)
{
	struct store_record record = {.delete_namespace = deletion->namespace,
				      .delete_name = deletion->name};

	return store_write(deletion->errand.pipeline->options.store, &record, deletion_written,
			   deletion);
}

/* The store was asked whether there is such an ended one. */
static void deletion_found(void *userdata, int result, const char *text, size_t length)
{
	_cleanup_(deletion_freep) struct deletion *deletion = userdata;

	if (!deletion->errand.pipeline)
		result = -ECANCELED;
	if (result == 0)
		result = abnormal_parse_handled(text, length, &deletion->abnormal, NULL);
	if (result == 0)
		result = deletion_write(deletion);
	if (result == 0)
		TAKE_PTR(deletion);
	else if (deletion->callback)
		deletion->callback(deletion->userdata, result);
}

int pipeline_delete(struct pipeline *pipeline, const char *namespace, const char *name,
		    store_written callback, void *userdata)
{
	_cleanup_(deletion_freep) struct deletion *deletion = calloc(1, sizeof(*deletion));
	struct handling *handling = pipeline_lookup(pipeline, namespace, name);
	int r;

	if (!deletion)
		return -ENOMEM;
	errand_begin(pipeline, &deletion->errand, NULL);
	deletion->callback = callback;
	deletion->userdata = userdata;
	deletion->namespace = strdup(namespace);
	deletion->name = strdup(name);
	if (!deletion->namespace || !deletion->name)
		return -ENOMEM;
	if (handling) {
		deletion->handling = handling_ref(handling);
		r = deletion_write(deletion);
		if (r == 0)
			pipeline_take_off(pipeline, handling);
	} else {
		r = store_get(pipeline->options.store, namespace, name, deletion_found, deletion);
	}
	if (r < 0)
		return r;
	TAKE_PTR(deletion);
	pipeline_schedule(pipeline);
	return 0;
}
