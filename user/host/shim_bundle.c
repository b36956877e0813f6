/* SPDX-License-Identifier: Apache-2.0 */
/* Bundle folders and their small files. */
#include "host/shim_bundle.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"

#define SMALL_FILE_BYTES_MAX (4 * KIB)

/* With storage of the usual kind; for Podman the bundle itself is on disk. */
#define CONTAINERS_RUN_FOLDER "/run/containers/storage/overlay-containers"

/* HOST's root, FOLDER and NAME; NULL when out of memory. */
static char *path_below_root(const struct host *host, const char *folder, const char *name)
{
	char *path;

	if (asprintf(&path, "%s%s%s%s", host->root, folder, *name ? "/" : "", name) < 0)
		return NULL;
	return path;
}

/* The last component of PATH[0..*length], cut off *length with the slash before it. */
static char *take_last(const char *path, size_t *length)
{
	size_t end = *length, start = end;

	while (start && path[start - 1] != '/')
		start--;
	if (start == 0 || start == end)
		return NULL;
	*length = start - 1;
	return strndup(path + start, end - start);
}

/*
 * What containerd (identifiers.Validate) and all others call containers and namespaces: a shim's id is
 * sent to a socket and shown to people, and a working directory may be called anything.
 */
static bool is_name(const char *text)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	return *text != '.' && *text != '-' && text[strspn(text, letters)] == '\0';
}

int bundle_split(const char *path, char **ret_namespace, char **ret_id)
{
	size_t length = strlen(path);
	_cleanup_free_ char *last = take_last(path, &length);
	_cleanup_free_ char *middle = take_last(path, &length);
	_cleanup_free_ char *first = take_last(path, &length);

	if (!last || !middle || !first || !is_name(last) || !is_name(middle))
		return -ENOENT;
	if (startswith(first, "io.containerd.runtime.")) {
		*ret_namespace = TAKE_PTR(middle);
		*ret_id = TAKE_PTR(last);
		return 0;
	}
	/* "overlay-containers", or as the storage driver is called ("vfs-containers"). */
	if (endswith(first, "-containers") && streq(last, "userdata")) {
		*ret_namespace = NULL;
		*ret_id = TAKE_PTR(middle);
		return 0;
	}
	return -ENOENT;
}

bool bundle_exists(const struct host *host, const char *bundle)
{
	_cleanup_free_ char *path = path_below_root(host, bundle, "config.json");

	return path && access(path, F_OK) == 0;
}

static char *read_small(const struct host *host, const char *bundle, const char *name)
{
	_cleanup_free_ char *path = path_below_root(host, bundle, name), *text = NULL;

	if (!path || file_read_regular(path, SMALL_FILE_BYTES_MAX, &text, NULL) < 0)
		return NULL;
	text[strcspn(text, "\r\n")] = '\0';
	return TAKE_PTR(text);
}

/* "unix:///path", or, as before containerd 1.3.9 and 1.4.3, the name of an abstract socket. */
static char *socket_of_address(const char *address)
{
	const char *path = startswith(address, "unix://");
	char *name;

	if (path)
		return *path == '/' ? strdup(path) : NULL;
	if (strstr(address, "://") || !*address) /* vsock:// of a shim in a virtual machine */
		return NULL;
	if (asprintf(&name, "@%s", address + (*address == '@')) < 0)
		return NULL;
	return name;
}

char *bundle_socket(const struct host *host, const char *bundle)
{
	_cleanup_free_ char *address = read_small(host, bundle, "address"), *bootstrap = NULL;
	_cleanup_json_ cJSON *json = NULL;
	struct problem problem;

	if (address)
		return socket_of_address(address);
	/* containerd 2: {"version":3,"address":"unix:///run/containerd/s/…","protocol":"ttrpc"} */
	bootstrap = read_small(host, bundle, "bootstrap.json");
	if (!bootstrap || json_parse(bootstrap, strlen(bootstrap), &json, &problem) < 0 ||
	    !json_string(json, "address"))
		return NULL;
	return socket_of_address(json_string(json, "address"));
}

bool bundle_socket_equal(const char *a, const char *b)
{
	size_t a_length, b_length;

	if (!a || !b)
		return false;
	a_length = strlen(a);
	b_length = strlen(b);
	if (a[0] == '@' && a_length > 1 && a[a_length - 1] == '@')
		a_length--;
	if (b[0] == '@' && b_length > 1 && b[b_length - 1] == '@')
		b_length--;
	return a_length == b_length && memcmp(a, b, a_length) == 0;
}

static int64_t read_pid(const struct host *host, const char *bundle, const char *name)
{
	_cleanup_free_ char *text = read_small(host, bundle, name);
	int64_t pid = 0;

	if (!text || sscanf(text, "%9" SCNd64, &pid) != 1)
		return 0;
	return pid > 0 ? pid : 0;
}

char *bundle_run_folder(const char *id)
{
	char *path;

	return asprintf(&path, CONTAINERS_RUN_FOLDER "/%s/userdata", id) < 0 ? NULL : path;
}

int64_t bundle_init_pid(const struct host *host, const char *bundle, const char *id)
{
	_cleanup_free_ char *run = bundle_run_folder(id);
	int64_t pid = bundle ? read_pid(host, bundle, "init.pid") : 0;

	return pid || !run ? pid : read_pid(host, run, "pidfile");
}

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

struct name_list {
	char **names;
	size_t count, capacity;
};

static void name_list_clear(struct name_list *list)
{
	bundle_list_free(list->names, list->count);
}

static int add_name(struct name_list *list, const char *name)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 32;
		char **grown = reallocarray(list->names, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		list->names = grown;
		list->capacity = capacity;
	}
	list->names[list->count] = strdup(name);
	if (!list->names[list->count])
		return -ENOMEM;
	list->count++;
	return 0;
}

int bundle_list(const struct host *host, const char *folder, size_t maximum, char ***ret_names,
		size_t *ret_count)
{
	_cleanup_(name_list_clear) struct name_list list = {0};
	_cleanup_(directory_closep) DIR *directory = NULL;
	_cleanup_free_ char *path = path_below_root(host, folder, "");

	if (!path)
		return -ENOMEM;
	directory = opendir(path);
	if (!directory)
		return -errno;
	for (struct dirent *entry; (entry = readdir(directory));) {
		/* containerd renames a bundle to ".ID" before it removes it. */
		if (entry->d_name[0] == '.' ||
		    (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
			continue;
		if (list.count == maximum)
			return -E2BIG;
		int r = add_name(&list, entry->d_name);
		if (r < 0)
			return r;
	}
	*ret_names = TAKE_PTR(list.names);
	*ret_count = list.count;
	list.count = 0;
	return 0;
}

void bundle_list_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}
