/* SPDX-License-Identifier: Apache-2.0 */
/* Finds who tells what a plug-in left. */
#include "cli/evidence.h"

#include <errno.h>

int evidence_append(struct buffer *text, const cJSON *status, const char *plugin)
{
	/* Not json_at below the context: a script's name may have dots. */
	const cJSON *context = cJSON_GetObjectItemCaseSensitive(json_at(status, "context"), plugin);

	if (!context)
		return 0;
	FOREACH_REGISTERED (evidence, struct evidence, evidence) {
		if (!streq(evidence->plugin, plugin))
			continue;
		_cleanup_json_ cJSON *plain = story_plain(context);

		return plain ? evidence->append(text, plain) : -ENOMEM;
	}
	return 0;
}
