# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Shims that no longer do their work.

# shim CONTAINER: this process works where containerd's shim of that container would
shim() {
	mkdir -p "/run/containerd/io.containerd.runtime.v1.linux/guest/$1"
	cd "/run/containerd/io.containerd.runtime.v1.linux/guest/$1" || exit
	echo '{}' > config.json
	exec > /dev/null 2>&1 3>&-
}

# hold CONTAINER [COMMAND]: a containerd-shim that does not reap its children, which are the init of a pid namespace,
# $init, and COMMAND in there
hold() {
	# shellcheck disable=SC2016 # the inner shell's
	(shim "$1" && exec unshare -p sh -c '
		sleep 1000 &
		init=$!
		if [ "$0" ]; then
			$0 &
		fi
		echo "$init" > init.pid
		exec containerd-shim' "${2-}") &
	shims="$shims $!"
	wait_until 30 [ -s "/run/containerd/io.containerd.runtime.v1.linux/guest/$1/init.pid" ]
	init=$(cat "/run/containerd/io.containerd.runtime.v1.linux/guest/$1/init.pid")
}

# Shims as they may be found: stopped; stopped by a debugger; in Go, with a child that it does not reap; and two with
# an init that is killed and cannot end, because of a child of the shim, and of one of another process, $outside.
shims() {
	(shim stopped && exec containerd-shim) &
	shims=$!
	(shim traced && exec containerd-shim) &
	shims="$shims $!"
	traced=$!
	(
		shim unreaped
		sleep 1 &
		exec /go/containerd-shim ready
	) &
	shims="$shims $!"
	hold held 'sleep 1001'
	kill -KILL "$init"
	hold held-outside
	nsenter -t "$init" -p sleep 1001 &
	outside=$!
	wait_until 30 grep -q . "/proc/$outside/task/$outside/children"
	# It may be in wait(), and would reap on its way to the stop.
	kill -STOP "$outside"
	wait_until 30 grep -q '^State:.T' "/proc/$outside/status"
	kill -KILL "$init"
	for shim in $shims; do
		wait_until 30 grep -q "^containerd-shim$" "/proc/$shim/comm"
	done
	kill -STOP "${shims%% *}"
	debugger "$traced" &
	debugger=$!
	for container in stopped traced unreaped held held-outside; do
		await "\"namespace\": ?\"guest\".*\"id\": ?\"$container\""
	done
	# shellcheck disable=SC2086 # several
	kill -KILL $shims "$outside" "$debugger"
	rm -r /run/containerd
}
