/* SPDX-License-Identifier: Apache-2.0 */
/* debugger PID: stops a process, and leaves it so. */
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(int count, char **words)
{
	if (count != 2 || ptrace(PTRACE_ATTACH, (pid_t)strtol(words[1], NULL, 10), 0, 0) < 0)
		return 1;
	for (;;)
		pause();
}
