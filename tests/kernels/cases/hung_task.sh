# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Tasks that wait for ever: for a frozen filesystem, for a disk that does not answer, for a FUSE server.

hung_frozen() {
	mount_image /tmp/frozen
	fsfreeze --freeze /tmp/frozen
	create-frozen /tmp/frozen/file &
	await '"comm": ?"create-frozen"'
	fsfreeze --unfreeze /tmp/frozen 2> /dev/null
	wait "$!"
	unmount_image /tmp/frozen
}

# A disk that holds its requests back, and two that create a file in the same folder of it: one of them waits for the
# disk, the other for the one.
hung_suspended() {
	disk_create stuck linear
	mkdir -p /tmp/stuck
	mount -t ext4 /dev/mapper/stuck /tmp/stuck || broken "mount /dev/mapper/stuck"
	sync
	echo 3 > /proc/sys/vm/drop_caches
	dmsetup suspend --nolockfs stuck
	create-stuck /tmp/stuck/first &
	first=$!
	wait_until 20 state "$first" D
	create-behind /tmp/stuck/second &
	second=$!
	wait_until 20 state "$second" D
	await '"comm": ?"create-stuck"'
	await '"comm": ?"create-behind"'
	dmsetup resume stuck
	wait "$first" "$second"
	wait_until 20 umount /tmp/stuck
	disk_remove stuck
}

# Reads of disks that take minutes for an answer; khungtaskd sees neither.
hung_reads() {
	disk_create slow delay 300000
	disk_create slower delay 300000
	read-buffered /dev/mapper/slow &
	buffered=$!
	read-direct /dev/mapper/slower direct &
	direct=$!
	await '"comm": ?"read-buffered"'
	await '"comm": ?"read-direct"'
	# A device that is suspended lets go of what it delays.
	for name in slow slower; do
		dmsetup suspend --nolockfs "$name"
		dmsetup resume "$name"
	done
	wait "$buffered" "$direct"
	disk_remove slow
	disk_remove slower
}

hung_fuse() {
	[ -e /dev/fuse ] || module fuse
	mkdir -p /tmp/fuse
	silent-fuse /tmp/fuse &
	server=$!
	wait_until 20 grep -q " /tmp/fuse " /proc/mounts || broken "mount /tmp/fuse"
	read-fuse /tmp/fuse/file &
	reader=$!
	await '"comm": ?"read-fuse"'
	# The kernel ends all requests of a server that is gone.
	kill -KILL "$server"
	wait "$server" "$reader"
	umount -l /tmp/fuse
}
