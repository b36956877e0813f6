# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# One crash of the one, and a loop of the other: /bin/crash is a static program that uses a null pointer.

crash_once() {
	mkdir -p /sys/fs/cgroup/crashing
	in_group crashing crash
	await '"exe": ?"crash"'
}

crash_again() {
	mkdir -p /sys/fs/cgroup/crashing
	for _ in 1 2 3 4; do
		in_group crashing crash-again
	done
	await '"CrashLoop".*"count": ?4\b'
}
