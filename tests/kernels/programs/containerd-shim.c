/* SPDX-License-Identifier: Apache-2.0 */
/* A shim by its name alone: it sleeps. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
