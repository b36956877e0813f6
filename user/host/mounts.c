/* SPDX-License-Identifier: Apache-2.0 */
/* Mount tables, as proc_pid_mountinfo(5) tells them. */
#include "host/mounts.h"

#include <inttypes.h>

#include "base/file.h"

#define MOUNTS_MAX 65536
#define MOUNTINFO_BYTES_MAX (64 * MIB)

static void mount_clear(struct mount *mount)
{
	free(mount->root);
	free(mount->mount_point);
	free(mount->fs_type);
	free(mount->source);
	free(mount->options);
}

void mounts_free(struct mounts *mounts)
{
	if (!mounts)
		return;
	for (size_t i = 0; i < mounts->count; i++)
		mount_clear(&mounts->items[i]);
	free(mounts->items);
	free(mounts);
}

/* The kernel writes space, tab, newline, backslash and '#' as \ooo (mangle_path). */
static char *unescape(const char *text)
{
	char *result = strdup(text), *out = result;

	if (!result)
		return NULL;
	for (const char *in = text; *in; in++) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
		    in[3] >= '0' && in[3] <= '7') {
			*out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	*out = '\0';
	return result;
}

/* ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [TAG…] - TYPE SOURCE SUPER_OPTIONS */
static int parse_line(char *line, struct mount *ret_mount)
{
	struct mount mount = {0};
	char *words[10] = {NULL}, *rest = line;
	size_t count = 0;
	bool tail = false;

	for (char *word; (word = strsep(&rest, " "));) {
		if (count == 6 && !tail) {
			tail = streq(word, "-"); /* the tags before it are not of interest */
			continue;
		}
		if (count < ARRAY_SIZE(words))
			words[count++] = word;
	}
	if (count < 8 || sscanf(words[0], "%" SCNd64, &mount.id) != 1 ||
	    sscanf(words[2], "%u:%u", &mount.major, &mount.minor) != 2)
		return -EINVAL;
	mount.root = unescape(words[3]);
	mount.mount_point = unescape(words[4]);
	mount.fs_type = strdup(words[6]);
	mount.source = unescape(words[7]);
	if (asprintf(&mount.options, "%s%s%s", words[5], words[8] ? "," : "",
		     words[8] ? words[8] : "") < 0)
		mount.options = NULL;
	if (!mount.root || !mount.mount_point || !mount.fs_type || !mount.source ||
	    !mount.options) {
		mount_clear(&mount);
		return -ENOMEM;
	}
	*ret_mount = mount;
	return 0;
}

int mounts_read(const struct host *host, int64_t pid, struct mounts **ret_mounts)
{
	_cleanup_mounts_ struct mounts *mounts = calloc(1, sizeof(*mounts));
	_cleanup_free_ char *text = NULL;
	char path[64];
	size_t capacity = 0;

	if (!mounts)
		return -ENOMEM;
	if (pid)
		snprintf(path, sizeof(path), "%" PRId64 "/mountinfo", pid);
	else
		snprintf(path, sizeof(path), "self/mountinfo");
	int r = file_read(host->proc, path, MOUNTINFO_BYTES_MAX, &text, NULL);
	if (r < 0)
		return r;
	char *rest = text;
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (!*line)
			continue;
		if (mounts->count == MOUNTS_MAX) {
			mounts->cut++;
			continue;
		}
		if (mounts->count == capacity) {
			capacity = capacity ? capacity * 2 : 64;
			struct mount *grown = reallocarray(mounts->items, capacity, sizeof(*grown));
			if (!grown)
				return -ENOMEM;
			mounts->items = grown;
		}
		r = parse_line(line, &mounts->items[mounts->count]);
		if (r < 0)
			return r;
		mounts->count++;
	}
	*ret_mounts = TAKE_PTR(mounts);
	return 0;
}

const struct mount *mounts_find_device(const struct mounts *mounts, unsigned major, unsigned minor)
{
	const struct mount *found = NULL;

	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount *mount = &mounts->items[i];

		if (mount->major != major || mount->minor != minor)
			continue;
		if (streq(mount->root, "/"))
			return mount;
		if (!found)
			found = mount;
	}
	return found;
}

int mounts_locate(const struct host *host, unsigned major, unsigned minor, const int64_t *pids,
		  size_t count, int64_t *ret_pid, struct mounts **ret_mounts)
{
	for (size_t i = 0; i < count + 2; i++) {
		_cleanup_mounts_ struct mounts *mounts = NULL;
		int64_t pid = i < 2 ? (int64_t)i : pids[i - 2];

		/* A process that ended meanwhile has no table (-ENOENT, or -EINVAL as a zombie). */
		if (mounts_read(host, pid, &mounts) < 0 ||
		    !mounts_find_device(mounts, major, minor))
			continue;
		*ret_pid = pid;
		*ret_mounts = TAKE_PTR(mounts);
		return 0;
	}
	return -ENOENT;
}
