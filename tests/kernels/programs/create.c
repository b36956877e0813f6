/* SPDX-License-Identifier: Apache-2.0 */
/* create FILE: creates it, and is named as no other process is. */
#include <fcntl.h>

int main(int count, char **words)
{
	return count != 2 || open(words[1], O_CREAT | O_WRONLY, 0644) < 0;
}
