/* SPDX-License-Identifier: Apache-2.0 */
/* thrash FILE: uses pages of the mapped file here and there, without end. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int count, char **words)
{
	int fd = count > 1 ? open(words[1], O_RDONLY) : -1;
	off_t size = lseek(fd, 0, SEEK_END);
	volatile char *pages = size > 0 ? mmap(0, size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	volatile char sum = 0;

	if (pages == MAP_FAILED)
		return 1;
	srandom(getpid());
	for (;;)
		sum += pages[random() % size];
}
