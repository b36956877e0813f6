/* SPDX-License-Identifier: Apache-2.0 */
/* Listing a collector's files, and holding them to their limits. */
#include "plugin/artifacts.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/macro.h"

struct listing {
	const char *root;
	cJSON *files;
	uint64_t bytes;
	unsigned count, removed;
};

static void names_free(struct dirent ***pointer)
{
	struct dirent **names = *pointer;

	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

static int not_dots(const struct dirent *entry)
{
	return !streq(entry->d_name, ".") && !streq(entry->d_name, "..");
}

/*
 * The names in FD sorted and ended by NULL, so that the same files are kept whatever the order on
 * disk.
 */
static int names_read(int fd, struct dirent ***ret_names)
{
	struct dirent **names = NULL;
	int count = scandirat(fd, ".", &names, not_dots, alphasort);

	if (count < 0)
		return -errno;
	struct dirent **ended = reallocarray(names, (size_t)count + 1, sizeof(*ended));
	if (!ended) {
		while (count--)
			free(names[count]);
		free(names);
		return -ENOMEM;
	}
	ended[count] = NULL;
	*ret_names = ended;
	return 0;
}

static int file_add(struct listing *listing, const char *name, off_t bytes)
{
	char path[PATH_MAX];
	cJSON *file = cJSON_CreateObject();

	if (!file || !cJSON_AddItemToArray(listing->files, file)) {
		cJSON_Delete(file);
		return -ENOMEM;
	}
	if (snprintf(path, sizeof(path), "%s/%s", listing->root, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	listing->count++;
	listing->bytes += (uint64_t)bytes;
	int r = json_set_string(file, "name", name);
	if (r == 0)
		r = json_set_string(file, "path", path);
	if (r == 0)
		r = json_set_number(file, "bytes", (double)bytes);
	return r;
}

static int folder_list(struct listing *listing, int folder, const char *prefix, unsigned depth)
{
	_cleanup_(names_free) struct dirent **names = NULL;
	int r = names_read(folder, &names);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && names && names[i]; i++) {
		char name[PATH_MAX];
		struct stat status;

		if (fstatat(folder, names[i]->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		bool fits = snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "/" : "",
				     names[i]->d_name) < (int)sizeof(name);
		if (S_ISDIR(status.st_mode)) {
			_cleanup_close_ int below =
				openat(folder, names[i]->d_name,
				       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (below < 0 || !fits || depth >= ARTIFACTS_DEPTH_MAX)
				listing->removed++; /* from the list: it stays where it is */
			else
				r = folder_list(listing, below, name, depth + 1);
			continue;
		}
		/* Opened in case there were something to write: there is nothing to read. */
		if (S_ISREG(status.st_mode) && status.st_size == 0) {
			unlinkat(folder, names[i]->d_name, 0);
			continue;
		}
		if (fits && S_ISREG(status.st_mode) && listing->count < ARTIFACTS_COUNT_MAX &&
		    (uint64_t)status.st_size <= ARTIFACTS_BYTES_MAX - listing->bytes) {
			r = file_add(listing, name, status.st_size);
			continue;
		}
		unlinkat(folder, names[i]->d_name, 0);
		listing->removed++;
	}
	return r;
}

int artifacts_list(const char *directory, cJSON **ret_artifacts, unsigned *ret_removed)
{
	_cleanup_json_ cJSON *files = cJSON_CreateArray();
	_cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (!files)
		return -ENOMEM;
	struct listing listing = {.root = directory, .files = files};
	int r = folder_list(&listing, fd, "", 0);
	if (r < 0)
		return r;
	*ret_artifacts = TAKE_PTR(files);
	*ret_removed = listing.removed;
	return 0;
}
