/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of removed Abnormals, removed in a child process, one batch at a time. */
#include "agent/artifacts.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/spawn.h"

#define WAITING_MAXIMUM 4096
#define UID_SIZE 37

struct artifact_cleaner {
	sd_event *event;
	char *root;
	char (*waiting)[UID_SIZE];
	size_t waiting_count;
	uint64_t dropped;
	sd_event_source *child; /* a batch is being removed */
};

int artifact_cleaner_new(sd_event *event, const char *root, struct artifact_cleaner **ret_cleaner)
{
	_cleanup_(artifact_cleaner_freep) struct artifact_cleaner *cleaner =
		calloc(1, sizeof(*cleaner));

	if (!cleaner)
		return -ENOMEM;
	cleaner->event = event;
	cleaner->root = strdup(root);
	cleaner->waiting = calloc(WAITING_MAXIMUM, sizeof(*cleaner->waiting));
	if (!cleaner->root || !cleaner->waiting)
		return -ENOMEM;
	*ret_cleaner = TAKE_PTR(cleaner);
	return 0;
}

/*
 * A child that still removes goes on without us; what waits is an orphan on the disk, and says so.
 */
void artifact_cleaner_free(struct artifact_cleaner *cleaner)
{
	if (cleaner->waiting_count + cleaner->dropped)
		log_warning("Files of %zu removed Abnormals are left below %s: nobody needs them "
			    "any more",
			    cleaner->waiting_count + cleaner->dropped, cleaner->root);
	sd_event_source_disable_unref(cleaner->child);
	free(cleaner->root);
	free(cleaner->waiting);
	free(cleaner);
}

/* The uid becomes part of a path: nothing else than a UUID may. */
static bool is_uid(const char *uid)
{
	return strlen(uid) == UID_SIZE - 1 && strspn(uid, "0123456789abcdef-") == UID_SIZE - 1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
	remove(path); /* what can't be removed makes its folder stay, and the rest goes */
	return 0;
}

_noreturn_ static void remove_batch(const struct artifact_cleaner *cleaner)
{
	sigset_t none;
	char path[4096];

	/*
	 * This may hang with the disk and outlive the agent: with the agent's sockets and locks it
	 * would keep supervisors and the store's worker waiting, and the next agent out.
	 */
	spawn_close_inherited();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (size_t i = 0; i < cleaner->waiting_count; i++)
		if (snprintf(path, sizeof(path), "%s/%s", cleaner->root, cleaner->waiting[i]) <
		    (int)sizeof(path))
			nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	_exit(0);
}

static void batch_start(struct artifact_cleaner *cleaner);

static int batch_done(sd_event_source *source, const siginfo_t *info, void *userdata)
{
	struct artifact_cleaner *cleaner = userdata;

	cleaner->child = sd_event_source_disable_unref(cleaner->child);
	if (cleaner->waiting_count)
		batch_start(cleaner);
	return 0;
}

static void batch_start(struct artifact_cleaner *cleaner)
{
	pid_t pid = fork();

	if (pid == 0)
		remove_batch(cleaner);
	if (pid < 0 || sd_event_add_child(cleaner->event, &cleaner->child, pid, WEXITED, batch_done,
					  cleaner) < 0) {
		log_warning("Removing files of removed Abnormals below %s failed: %s; they stay "
			    "until the next is removed",
			    cleaner->root, strerror(errno));
		return;
	}
	cleaner->waiting_count = 0;
}

void artifact_cleaner_remove(struct artifact_cleaner *cleaner, const char *uid)
{
	if (!is_uid(uid))
		return;
	if (cleaner->waiting_count == WAITING_MAXIMUM) {
		cleaner->dropped++;
		return;
	}
	memcpy(cleaner->waiting[cleaner->waiting_count++], uid, UID_SIZE);
	if (!cleaner->child)
		batch_start(cleaner);
}
