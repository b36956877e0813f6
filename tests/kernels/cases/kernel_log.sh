# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# What the kernel says of a filesystem, of disks and of a CPU that is stuck, and what a program says.

# A filesystem finds an error, and a program writes lines: of the three the second is nobody's fault, as no program's
# word is the kernel's, and the third is one by a rule of the configuration.
log_filesystem() {
	mount_image /tmp/damaged errors=continue
	echo guest > "/sys/fs/ext4/$(device /tmp/damaged)/trigger_fs_error"
	echo "BUG: no kernel's word" > /dev/kmsg
	echo "guest: the disk sdz is broken" > /dev/kmsg
	await '"type": ?"FilesystemError"'
	await '"type": ?"BrokenDisk"'
	unmount_image /tmp/damaged
}

# A disk without a queue of its own, as those of device mapper are.
log_disk() {
	device_mapper failing "0 2048 error"
	dd if=/dev/mapper/failing of=/dev/null bs=4k count=1
	await '"type": ?"DiskIOError".*"device": ?"dm-'
	wait_until 20 dmsetup remove failing
}

# A disk with bad blocks.
log_blocks() {
	module null_blk nr_devices=0
	mkdir -p /sys/kernel/config
	mount -t configfs configfs /sys/kernel/config
	mkdir /sys/kernel/config/nullb/bad || broken "create a null_blk"
	echo 64 > /sys/kernel/config/nullb/bad/size
	echo +8-15 > /sys/kernel/config/nullb/bad/badblocks
	echo 1 > /sys/kernel/config/nullb/bad/power
	for disk in /dev/bad /dev/nullb*; do
		[ ! -b "$disk" ] || dd if="$disk" of=/dev/null bs=4k count=4
	done
	await '"type": ?"DiskIOError".*"device": ?"(bad|nullb)'
	rmdir /sys/kernel/config/nullb/bad
}

# A CPU that comes to nothing else: a BPF program that loops.
log_lockup() {
	busy-kernel 0 || not_here "this kernel lacks bpf_loop (Linux 5.17), so that nothing can keep a CPU busy in it"
	echo 2 > /proc/sys/kernel/watchdog_thresh
	echo 3 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
	busy-kernel 14
	await '"type": ?"CPULockup"'
	await '"type": ?"RCUStall"'
	echo 10 > /proc/sys/kernel/watchdog_thresh
	echo 21 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
}
