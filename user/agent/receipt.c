/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/receipt.h"

struct receipt {
	struct detect **detect;
	uint64_t record;
	unsigned pending;
};

static void on_durable(void *userdata, int result _unused_, enum submit_result how _unused_,
		       const char *namespace _unused_, const char *name _unused_)
{
	struct receipt *receipt = userdata;

	if (--receipt->pending > 0)
		return;
	if (*receipt->detect)
		detect_settle(*receipt->detect, receipt->record);
	free(receipt);
}

int receipt_submit(struct pipeline *pipeline, struct detect **detect, struct finding *finding)
{
	struct receipt *receipt = finding->receipt ? malloc(sizeof(*receipt)) : NULL;
	unsigned pending;

	/* Without memory for it nothing is kept, as where nothing has to be. */
	if (receipt)
		*receipt = (struct receipt){detect, finding->receipt, 0};
	int r = sources_finding(pipeline, finding, receipt ? on_durable : NULL, receipt, &pending);

	if (receipt && pending > 0) {
		receipt->pending = pending;
		finding->receipt = 0;
	} else {
		free(receipt);
	}
	return r;
}
