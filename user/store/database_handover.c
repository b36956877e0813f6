/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From memory to disk: the standby database of a time without disk is dumped whole by its worker
 * and merged by the disk's, each in one step, so that neither half can be lost in between.
 */
#include "store/database.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "base/file.h"

/*
 * The dump's transitions keep their names, so that those which the disk already has are left out.
 * What the standby database could not know (the phase before its first transition) the disk does.
 */
static const char merge_sql[] =
	/* Not IMMEDIATE, which would want to write the dump as well. */
	"BEGIN;"
	"DELETE FROM main.abnormals WHERE (namespace, name) IN (SELECT namespace, name FROM "
	"standby.deleted);"
	"DELETE FROM main.abnormals WHERE EXISTS (SELECT 1 FROM standby.abnormals s WHERE"
	" s.namespace = abnormals.namespace AND s.name = abnormals.name AND s.uid <> "
	"abnormals.uid);"
	"CREATE TEMP TABLE phases AS SELECT m.id, m.phase FROM main.abnormals m"
	" JOIN standby.abnormals s USING (namespace, name);"
	"INSERT INTO main.abnormals (namespace, name, uid, fingerprint, phase, final, created, "
	"ended, heard, document)"
	" SELECT namespace, name, uid, fingerprint, phase, final, created, ended, heard, document"
	" FROM standby.abnormals WHERE true ON CONFLICT (namespace, name) DO UPDATE SET"
	" fingerprint = excluded.fingerprint, phase = excluded.phase, final = excluded.final,"
	" created = excluded.created, ended = excluded.ended, heard = excluded.heard,"
	" document = excluded.document;"
	"INSERT OR IGNORE INTO main.transitions (abnormal, time, from_phase, to_phase, transition, "
	"run, record)"
	" SELECT m.id, t.time, coalesce(t.from_phase, p.phase), t.to_phase, t.transition, t.run, "
	"t.record"
	" FROM standby.transitions t JOIN standby.abnormals s ON s.id = t.abnormal"
	" JOIN main.abnormals m ON m.namespace = s.namespace AND m.name = s.name"
	" LEFT JOIN temp.phases p ON p.id = m.id ORDER BY t.id;"
	"DELETE FROM main.actions WHERE abnormal IN (SELECT id FROM temp.phases);"
	"INSERT INTO main.actions SELECT m.id, a.position, a.recoverer, a.target, a.intent_time,"
	" a.finish_time, a.outcome, a.verification, a.subject FROM standby.actions a"
	" JOIN standby.abnormals s ON s.id = a.abnormal"
	" JOIN main.abnormals m ON m.namespace = s.namespace AND m.name = s.name;"
	"INSERT INTO main.positions SELECT source, position FROM standby.positions WHERE true"
	" ON CONFLICT (source) DO UPDATE SET position = excluded.position;"
	"INSERT INTO temp.known SELECT namespace, name FROM standby.abnormals;"
	"DROP TABLE temp.phases;"
	"COMMIT;";

int database_dump(struct database *database, int *ret_fd)
{
	_cleanup_close_ int fd = memfd_create("lifeboat-store", MFD_CLOEXEC);
	sqlite3_int64 size = 0;

	if (fd < 0)
		return -errno;
	unsigned char *image = sqlite3_serialize(database->sqlite, "main", &size, 0);
	if (!image)
		return -ENOMEM;
	int r = file_write_fd(fd, image, (size_t)size);
	sqlite3_free(image);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

static int merge_image(struct database *database, unsigned char *image, size_t size)
{
	int r = database_execute(database, "ATTACH ':memory:' AS standby");

	if (r == 0)
		r = database_error(database,
				   sqlite3_deserialize(database->sqlite, "standby", image,
						       (sqlite3_int64)size, (sqlite3_int64)size,
						       SQLITE_DESERIALIZE_READONLY));
	if (r == 0)
		r = database_execute(database, merge_sql);
	if (r == 0)
		r = database_execute(database, "DETACH standby");
	return r < 0 ? r : database_measure(database);
}

int database_merge(struct database *database, int dump_fd)
{
	struct stat status;

	if (fstat(dump_fd, &status) < 0)
		return -errno;
	if (status.st_size <= 0)
		return -EBADMSG;
	size_t size = (size_t)status.st_size;
	unsigned char *image = mmap(NULL, size, PROT_READ, MAP_PRIVATE, dump_fd, 0);
	if (image == MAP_FAILED)
		return -errno;
	int r = merge_image(database, image, size);
	/*
	 * After a failure SQLite still has the image attached: the worker ends then, and the map
	 * with it.
	 */
	if (r == 0)
		munmap(image, size);
	return r;
}
