/* SPDX-License-Identifier: Apache-2.0 */
/* `lifeboat store-worker`: the process that the agent's store starts; not for people. */
#include "cli/command.h"
#include "store/store_worker.h"

COMMAND(store_worker) = {
	.name = "store-worker",
	.arguments = "--fd N [--directory DIR]",
	.summary = "keep the agent's database",
	.help = "Started by the agent, with a socket; not for people.\n",
	.hidden = true,
	.run = store_worker_main,
};
