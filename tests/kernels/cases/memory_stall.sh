# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# A group whose memory does not hold what it works on.

# Four processes that use a file of 5 MiB here and there, in a group with room for half of it.
memory_stalled() {
	mkdir -p /sys/fs/cgroup/stalled
	mount_image /tmp/stall
	dd if=/dev/urandom of=/tmp/stall/large bs=1M count=5
	# What is in memory already is charged to nobody.
	sync
	echo 3 > /proc/sys/vm/drop_caches
	echo 3M > /sys/fs/cgroup/stalled/memory.max
	for _ in 1 2 3 4; do
		in_group stalled thrash /tmp/stall/large &
	done
	await '"lifeboat.dev/subject": ?"[^"]*/stalled' 180
	end_group stalled
	unmount_image /tmp/stall
}
