# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Kills at a limit, of a group as a whole, and for the node. All of dd's one block is in memory at once.

oom_limit() {
	mkdir -p /sys/fs/cgroup/pod
	echo +memory > /sys/fs/cgroup/pod/cgroup.subtree_control
	mkdir -p /sys/fs/cgroup/pod/limited
	echo 20M > /sys/fs/cgroup/pod/limited/memory.max
	echo 0 > /sys/fs/cgroup/pod/limited/memory.swap.max
	in_group pod/limited dd if=/dev/zero of=/dev/null count=1 bs=64M
	await '"lifeboat.dev/subject": ?"/pod/limited"'
}

oom_group() {
	mkdir -p /sys/fs/cgroup/together
	echo 20M > /sys/fs/cgroup/together/memory.max
	echo 0 > /sys/fs/cgroup/together/memory.swap.max
	echo 1 > /sys/fs/cgroup/together/memory.oom.group
	in_group together sleep 600 &
	in_group together sleep 601 &
	wait_until 20 members together 2
	in_group together dd if=/dev/zero of=/dev/null count=1 bs=64M
	await '"lifeboat.dev/subject": ?"/together"'
}

# A file in memory, which no kill frees, leaves no room for dd.
oom_node() {
	available=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
	dd if=/dev/zero of=/tmp/fill bs=1k "count=$((available * 45 / 100))"
	dd if=/dev/zero of=/dev/null count=1 "bs=$((available * 80 / 100))k"
	rm /tmp/fill
	await '"lifeboat.dev/subject": ?"(node|unknown)"'
}
