/* SPDX-License-Identifier: Apache-2.0 */
/* read FILE [direct]: reads one page of it, past the page cache with "direct"; is named as no other process is. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(int count, char **words)
{
	void *page;

	if (count < 2 || posix_memalign(&page, 4096, 4096) != 0)
		return 1;
	int fd = open(words[1], O_RDONLY | (count > 2 ? O_DIRECT : 0));
	return fd < 0 || read(fd, page, 4096) < 0;
}
