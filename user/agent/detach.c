/* SPDX-License-Identifier: Apache-2.0 */
/* `lifeboat agent --detach`: removes what agents left in the kernel. */
#include "agent/agent.h"
#include "agent/settings.h"
#include "detect/pin_folder.h"

static void explain(const char *folder, int error, int pid)
{
	if (error == -EBUSY)
		log_error("An agent (pid %d) is running with what is pinned in %s: stop it first",
			  pid, folder);
	else if (error == -EPROTO)
		log_error(
			"What is in %s was not pinned by an agent, and is left alone: is --bpffs, "
			"or bpffs of the configuration, right?",
			folder);
	else if (error == -EXDEV)
		log_error("%s is not in a BPF file system: nothing is pinned there", folder);
	else
		log_error("Removing what is pinned in %s failed: %s", folder, strerror(-error));
}

int agent_detach(const struct agent_options *options)
{
	_cleanup_(config_freep) struct config *config = NULL;
	struct problem problem = {0};
	char line[700];
	const char *path;
	int pid, r = settings_read(options, &config, &path, &problem);

	if (r < 0) {
		log_error("The configuration %s can't be used: %s", path,
			  problem_line(&problem, line, sizeof(line)));
		return EXIT_FAILURE;
	}
	r = pin_folder_remove(config->bpffs, &pid);
	if (r < 0) {
		explain(config->bpffs, r, pid);
		return EXIT_FAILURE;
	}
	if (r == 0)
		printf("Nothing is pinned in %s\n", config->bpffs);
	else
		printf("Detached: %d programs, maps and iterators of lifeboat are no longer pinned in %s\n",
		       r, config->bpffs);
	return EXIT_SUCCESS;
}
