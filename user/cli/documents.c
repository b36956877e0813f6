/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and checking what `apply -f` is given. */
#include "cli/documents.h"

#include <errno.h>
#include <fcntl.h>

#include "base/file.h"
#include "base/yaml.h"
#include "core/abnormal.h"

#define FILE_BYTES_MAX ((size_t)32 * MIB)

static int read_text(const char *file, char **ret_text, size_t *ret_length, struct problem *problem)
{
	_cleanup_close_ int fd = -1;

	if (!streq(file, "-")) {
		fd = open(file, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return problem_set(problem, -errno, file, "cannot be opened: %s",
					   strerror(errno));
	}
	int r = file_read_fd(fd < 0 ? STDIN_FILENO : fd, FILE_BYTES_MAX, ret_text, ret_length);
	if (r == -EFBIG)
		return problem_set(problem, r, file, "has more than %zu MiB", FILE_BYTES_MAX / MIB);
	if (r < 0)
		return problem_set(problem, r, file, "cannot be read: %s", strerror(-r));
	return 0;
}

/* Moves DOCUMENT, or the items of the List that it is, to the end of ALL. */
static int document_spread(cJSON *document, cJSON *all)
{
	const char *kind = json_string(document, "kind");
	cJSON *items = kind && endswith(kind, "List")
			       ? cJSON_GetObjectItemCaseSensitive(document, "items")
			       : NULL;

	if (!items || !cJSON_IsArray(items))
		return cJSON_AddItemToArray(all, document) ? 0 : -ENOMEM;
	while (items->child)
		if (!cJSON_AddItemToArray(all, cJSON_DetachItemViaPointer(items, items->child)))
			return -ENOMEM;
	cJSON_Delete(document);
	return 0;
}

int documents_read(const char *file, cJSON **ret_documents, struct problem *problem)
{
	_cleanup_json_ cJSON *read = NULL, *all = cJSON_CreateArray();
	_cleanup_free_ char *text = NULL;
	const char *shown = streq(file, "-") ? "standard input" : file;
	struct problem inner = {0};
	char line[sizeof(inner.field) + sizeof(inner.text) + 4];
	size_t length;

	int r = read_text(file, &text, &length, problem);
	if (r < 0)
		return r;
	if (!all)
		return -ENOMEM;
	r = yaml_read(text, length, FILE_BYTES_MAX, &read, &inner);
	if (r < 0)
		return problem_set(problem, r, shown, "%s",
				   inner.text[0] ? problem_line(&inner, line, sizeof(line))
						 : strerror(-r));
	while (read->child && r == 0)
		r = document_spread(cJSON_DetachItemViaPointer(read, read->child), all);
	if (r < 0)
		return r;
	if (!all->child)
		return problem_set(problem, -EINVAL, shown, "holds no document");
	*ret_documents = TAKE_PTR(all);
	return 0;
}

int document_check(const char *file, const cJSON *document, int number, struct problem *problem)
{
	_cleanup_abnormal_ struct abnormal *abnormal = NULL;
	struct problem inner = {0};
	char line[sizeof(inner.field) + sizeof(inner.text) + 4], place[sizeof(problem->field)];

	snprintf(place, sizeof(place), "%s: document %d",
		 streq(file, "-") ? "standard input" : file, number);
	if (!cJSON_IsObject(document))
		return problem_set(problem, -EINVAL, place, "is not an object");
	int r = abnormal_decode(document, &abnormal, &inner);
	if (r < 0)
		return problem_set(problem, r, place, "%s",
				   inner.text[0] ? problem_line(&inner, line, sizeof(line))
						 : strerror(-r));
	return 0;
}
