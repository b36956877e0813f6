/* SPDX-License-Identifier: Apache-2.0 */
/* debugger PID: stops a process, and leaves it so. */
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(int count, char **words)
{
	if (count != 2 || ptrace(PTRACE_ATTACH, atoi(words[1]), 0, 0) < 0)
		return 1;
	for (;;)
		pause();
}
