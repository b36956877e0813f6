/* SPDX-License-Identifier: Apache-2.0 */
/* The node's file-system roots. */
#include "host/host.h"

#include <fcntl.h>
#include <sys/stat.h>

static int open_root_folder(const char *root, const char *name)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/%s", root, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int host_open(const char *root, struct host **ret_host)
{
	_cleanup_host_ struct host *host = calloc(1, sizeof(*host));

	if (!host)
		return -ENOMEM;
	host->proc = host->sys = -1;
	host->root = strdup(root ? root : "");
	if (!host->root)
		return -ENOMEM;
	/* "/" and "/host/" too become prefixes that a path starting with a slash may follow. */
	for (size_t length = strlen(host->root); length && host->root[length - 1] == '/'; length--)
		host->root[length - 1] = '\0';
	host->proc = open_root_folder(host->root, "proc");
	if (host->proc < 0)
		return host->proc;
	host->sys = open_root_folder(host->root, "sys");
	if (host->sys < 0)
		return host->sys;
	*ret_host = TAKE_PTR(host);
	return 0;
}

void host_free(struct host *host)
{
	if (!host)
		return;
	if (host->proc >= 0)
		close(host->proc);
	if (host->sys >= 0)
		close(host->sys);
	free(host->root);
	free(host);
}

bool host_lacks(const struct host *host, const char *path)
{
	_cleanup_free_ char *full = NULL;
	struct statx status;

	if (asprintf(&full, "%s%s", host->root, path) < 0) {
		full = NULL;
		return false;
	}
	return statx(AT_FDCWD, full, AT_STATX_DONT_SYNC, STATX_TYPE, &status) < 0 &&
	       (errno == ENOENT || errno == ENOTDIR);
}
