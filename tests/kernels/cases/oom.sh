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

# While no agent runs its programs go on, and the tables that it has left need none.
oom_without_agent() {
	agent_gone KILL
	[ -e /sys/fs/bpf/lifeboat/links/oom ] || {
		agent_run
		forced kprobe/ || broken "find the detector's programs without an agent"
		not_here "a kprobe is no link on this kernel (before Linux 5.15), and ends with the agent"
	}
	for table in hung_tasks zombies shims cgroups; do
		head -n 1 "/sys/fs/bpf/lifeboat/$table" | grep -q . || broken "read the table $table without an agent"
	done
	mkdir -p /sys/fs/cgroup/alone
	echo 20M > /sys/fs/cgroup/alone/memory.max
	echo 0 > /sys/fs/cgroup/alone/memory.swap.max
	in_group alone sleep 600 &
	wait_until 20 members alone 1
	in_group alone dd if=/dev/zero of=/dev/null count=1 bs=64M
	grep -Eq '^ +[0-9]+ +20 +1 .* /alone$' /sys/fs/bpf/lifeboat/cgroups || {
		cat /sys/fs/bpf/lifeboat/cgroups
		broken "find the kill in the table cgroups"
	}
	agent_run
	await '"lifeboat.dev/subject": ?"/alone"'
	end_group alone
}
