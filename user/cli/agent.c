/* SPDX-License-Identifier: Apache-2.0 */
/* `lifeboat agent`: the flags, and the agent itself. */
#include "agent/agent.h"
#include "cli/cli.h"

enum {
	OPTION_CONFIG = OPTION_FIRST_OWN,
	OPTION_STATE_DIR,
	OPTION_BPFFS,
	OPTION_NODE_NAME,
	OPTION_DRY_RUN,
	OPTION_LOG_LEVEL,
	OPTION_DETACH
};

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, OPTION_CONFIG},
		{"state-dir", required_argument, NULL, OPTION_STATE_DIR},
		{"bpffs", required_argument, NULL, OPTION_BPFFS},
		{"node-name", required_argument, NULL, OPTION_NODE_NAME},
		{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
		{"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
		{"detach", no_argument, NULL, OPTION_DETACH},
		GLOBAL_OPTIONS,
	};
	struct options options = OPTIONS("", longs);
	struct agent_options agent = {0};
	bool detach = false;
	int option;

	while ((option = options_next(&options)) >= 0)
		switch (option) {
		case OPTION_CONFIG:
			agent.config = optarg;
			break;
		case OPTION_STATE_DIR:
			agent.state_directory = optarg;
			break;
		case OPTION_BPFFS:
			agent.bpffs = optarg;
			break;
		case OPTION_NODE_NAME:
			agent.node_name = optarg;
			break;
		case OPTION_DRY_RUN:
			agent.dry_run = true;
			break;
		case OPTION_LOG_LEVEL:
			agent.log_level = optarg;
			break;
		case OPTION_DETACH:
			detach = true;
			break;
		default:
			break;
		}
	if (option == OPTION_EXIT)
		return options.exit_status;
	if (optind < argc)
		return usage_error("agent", "takes no arguments, but was given \"%s\"",
				   argv[optind]);
	agent.socket = getenv(SOCKET_VARIABLE);
	return detach ? agent_detach(&agent) : agent_run(&agent);
}

COMMAND(agent) = {
	.name = "agent",
	.arguments =
		"[--config FILE] [--state-dir DIR] [--bpffs DIR] [--node-name NAME] [--dry-run] | "
		"--detach [--bpffs DIR]",
	.summary = "Run the agent in the foreground",
	.help = "Watches the kernel, handles every Abnormal of this node, and serves the other "
		"commands, until\n"
		"SIGTERM or SIGINT. SIGHUP reads the configuration again. Flags go before the "
		"configuration.\n\n"
		"      --config FILE      configuration (" AGENT_CONFIG_DEFAULT
		", which may be missing)\n"
		"      --state-dir DIR    database and collected files (/var/lib/lifeboat)\n"
		"      --bpffs DIR        where programs and maps are pinned (/sys/fs/bpf/lifeboat)\n"
		"      --node-name NAME   name of this node in its Abnormals (the host's name)\n"
		"      --dry-run          show what would be repaired, and repair nothing\n"
		"      --log-level LEVEL  error, warning, info or debug (info)\n"
		"      --detach           run no agent, but remove what one left in the kernel\n\n"
		"The BPF programs stay attached when the agent ends, so that the next one misses nothing; "
		"--detach ends that.\n",
	.group = GROUP_RUN,
	.run = run,
};
