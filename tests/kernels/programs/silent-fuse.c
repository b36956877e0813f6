/* SPDX-License-Identifier: Apache-2.0 */
/* silent-fuse FOLDER: serves a FUSE filesystem there that is mounted, and answers nothing after that. */
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int count, char **words)
{
	static char request[1 << 17];
	char options[64];
	int fd = open("/dev/fuse", O_RDWR);

	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (count != 2 || fd < 0 || mount("silent", words[1], "fuse", 0, options) < 0) {
		perror("silent-fuse");
		return 1;
	}
	while (read(fd, request, sizeof(request)) > 0) {
		const struct fuse_in_header *in = (void *)request;
		struct {
			struct fuse_out_header header;
			struct fuse_init_out init;
		} out = {
			.header = {.len = sizeof(out), .unique = in->unique},
			.init = {.major = 7, .minor = 31, .max_readahead = 65536, .max_background = 12,
				 .congestion_threshold = 9, .max_write = 65536, .time_gran = 1},
		};

		if (in->opcode == FUSE_INIT && write(fd, &out, sizeof(out)) < 0)
			perror("silent-fuse: write");
	}
	return 1;
}
