/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lifeboat completion: a script for the shell. It asks the program itself for commands, flags and
 * names, so that it never needs to be kept in step with them.
 */
#include "cli/cli.h"

static const char bash_script[] =
	"# bash completion of lifeboat; made by `lifeboat completion bash`\n"
	"_lifeboat() {\n"
	"\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= "
	"kind= word i\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tcase $word in\n"
	"\t\t--socket | -o | -n | -l | -f | --abnormal) ((i++)) ;;\n"
	"\t\t-*) ;;\n"
	"\t\t*) if [[ -z $command ]]; then command=$word; elif [[ -z $kind ]]; then kind=$word; fi "
	";;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\tcase $previous in\n"
	"\t--socket | -f | --filename | --config | --state-dir | --bpffs) COMPREPLY=($(compgen -f "
	"-- \"$current\")); return ;;\n"
	"\t-o | --output) COMPREPLY=($(compgen -W 'table wide json yaml name' -- \"$current\")); "
	"return ;;\n"
	"\t--abnormal) COMPREPLY=($(compgen -W \"$(_lifeboat_names abnormals)\" -- \"$current\")); "
	"return ;;\n"
	"\tesac\n"
	"\tif [[ -z $command ]]; then\n"
	"\t\tCOMPREPLY=($(compgen -W \"$(lifeboat help 2>/dev/null | sed -n 's/^  \\([a-z]*\\) "
	".*/\\1/p') --socket --help\" -- \"$current\"))\n"
	"\telif [[ $current == -* ]]; then\n"
	"\t\tCOMPREPLY=($(compgen -W \"$(lifeboat \"$command\" --help 2>/dev/null | grep -oE -- "
	"'--[a-z-]+' | sort -u)\" -- \"$current\"))\n"
	"\telse\n"
	"\t\tcase $command in\n"
	"\t\tget | describe | delete)\n"
	"\t\t\tif [[ -z $kind ]]; then\n"
	"\t\t\t\tCOMPREPLY=($(compgen -W 'abnormals detectors collectors diagnosers recoverers "
	"sources' -- \"$current\"))\n"
	"\t\t\telse\n"
	"\t\t\t\tCOMPREPLY=($(compgen -W \"$(_lifeboat_names \"$kind\")\" -- \"$current\"))\n"
	"\t\t\tfi ;;\n"
	"\t\tcollect) COMPREPLY=($(compgen -W \"$(_lifeboat_names collectors)\" -- \"$current\")) "
	";;\n"
	"\t\tdiagnose) COMPREPLY=($(compgen -W \"$(_lifeboat_names diagnosers)\" -- \"$current\")) "
	";;\n"
	"\t\trecover) COMPREPLY=($(compgen -W \"$(_lifeboat_names recoverers)\" -- \"$current\")) "
	";;\n"
	"\t\tcompletion) COMPREPLY=($(compgen -W 'bash zsh' -- \"$current\")) ;;\n"
	"\t\tesac\n"
	"\tfi\n"
	"}\n"
	"_lifeboat_names() {\n"
	"\tlifeboat get \"$1\" -o name 2>/dev/null | sed 's|.*/||'\n"
	"}\n"
	"complete -F _lifeboat lifeboat\n";

static const char zsh_script[] =
	"#compdef lifeboat\n"
	"# zsh completion of lifeboat; made by `lifeboat completion zsh`\n"
	"_lifeboat_names() {\n"
	"\tlocal -a names\n"
	"\tnames=(${${(f)\"$(lifeboat get $1 -o name 2>/dev/null)\"}##*/})\n"
	"\tcompadd -a names\n"
	"}\n"
	"_lifeboat() {\n"
	"\tlocal command=$words[2] previous=$words[CURRENT-1]\n"
	"\tlocal -a commands\n"
	"\tcase $previous in\n"
	"\t--socket|-f|--filename|--config|--state-dir|--bpffs) _files; return ;;\n"
	"\t-o|--output) compadd table wide json yaml name; return ;;\n"
	"\t--abnormal) _lifeboat_names abnormals; return ;;\n"
	"\tesac\n"
	"\tif (( CURRENT == 2 )); then\n"
	"\t\tcommands=(${(f)\"$(lifeboat help 2>/dev/null | sed -n 's/^  \\([a-z]*\\)  "
	"*\\(.*\\)/\\1:\\2/p')\"})\n"
	"\t\t_describe command commands\n"
	"\telif [[ $words[CURRENT] == -* ]]; then\n"
	"\t\tcompadd -- ${(f)\"$(lifeboat $command --help 2>/dev/null | grep -oE -- '--[a-z-]+' | "
	"sort -u)\"}\n"
	"\telse\n"
	"\t\tcase $command in\n"
	"\t\tget|describe|delete)\n"
	"\t\t\tif (( CURRENT == 3 )); then\n"
	"\t\t\t\tcompadd abnormals detectors collectors diagnosers recoverers sources\n"
	"\t\t\telse\n"
	"\t\t\t\t_lifeboat_names $words[3]\n"
	"\t\t\tfi ;;\n"
	"\t\tcollect) _lifeboat_names collectors ;;\n"
	"\t\tdiagnose) _lifeboat_names diagnosers ;;\n"
	"\t\trecover) _lifeboat_names recoverers ;;\n"
	"\t\tcompletion) compadd bash zsh ;;\n"
	"\t\tesac\n"
	"\tfi\n"
	"}\n"
	"# Sourced or autoloaded: the first call must complete, too.\n"
	"if [[ $funcstack[1] == _lifeboat ]]; then _lifeboat \"$@\"; else compdef _lifeboat "
	"lifeboat; fi\n";

static int completion_run(int argc, char **argv)
{
	static const struct option longs[] = {GLOBAL_OPTIONS};
	struct options options = OPTIONS("", longs);
	int c = options_next(&options);

	if (c == OPTION_EXIT)
		return options.exit_status;
	if (optind + 1 == argc && streq(argv[optind], "bash"))
		fputs(bash_script, stdout);
	else if (optind + 1 == argc && streq(argv[optind], "zsh"))
		fputs(zsh_script, stdout);
	else
		return usage_error("completion", "say for which shell: bash or zsh");
	return EXIT_OK;
}

COMMAND(completion) = {
	.name = "completion",
	.arguments = "bash|zsh",
	.summary = "Print a completion script for the shell",
	.help = "  source <(lifeboat completion bash)\n"
		"  lifeboat completion zsh > \"${fpath[1]}/_lifeboat\"\n",
	.group = GROUP_OTHER,
	.run = completion_run,
};
