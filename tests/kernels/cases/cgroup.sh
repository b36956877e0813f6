# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Control groups (v2) that keep their processes from work.

# Frozen until it is told; then what is in it is killed, which a freeze does not hinder.
group_frozen() {
	mkdir -p /sys/fs/cgroup/frozen
	in_group frozen sleep 1000 &
	wait_until 20 members frozen 1
	echo 1 > /sys/fs/cgroup/frozen/cgroup.freeze
	await '"lifeboat.dev/subject": ?"frozen control group /frozen"'
	kill -KILL "$(cat /sys/fs/cgroup/frozen/cgroup.procs)"
	wait_until 60 grep -q 'frozen control group /frozen".*"cleared"' /tmp/abnormals
	end_group frozen
}

# The shell ends when it cannot fork; its four children stay.
group_pids() {
	mkdir -p /sys/fs/cgroup/few
	echo 5 > /sys/fs/cgroup/few/pids.max
	in_group few sh -c 'for _ in 1 2 3 4 5 6; do sleep 1000 & done; wait' &
	# It takes a round, and rounds are the rarer the slower the machine is.
	await '"lifeboat.dev/subject": ?"pids limit of control group /few"' 240
	end_group few
}

group_throttled() {
	mkdir -p /sys/fs/cgroup/slow
	echo "10000 100000" > /sys/fs/cgroup/slow/cpu.max
	in_group slow sh -c 'while :; do :; done' &
	# It takes six rounds, which are the rarer the slower the machine is.
	await '"lifeboat.dev/subject": ?"CPU quota of control group /slow"' 240
	end_group slow
}
