# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# A server of NFS that no longer answers a hard mount: this kernel's own, over the loopback interface, which goes down.

# The kernel asks user space (mountd) who may see what; here it is told before it asks.
nfs_serve() {
	module nfsd
	module nfsv4
	mkdir -p /tmp/export /tmp/nfs
	mount -t tmpfs tmpfs /tmp/export
	echo hello > /tmp/export/file
	mount -t nfsd nfsd /proc/fs/nfsd || broken "mount nfsd"
	# The others take a portmapper.
	echo "-2 -3 +4" > /proc/fs/nfsd/versions
	echo 10 > /proc/fs/nfsd/nfsv4gracetime
	echo 10 > /proc/fs/nfsd/nfsv4leasetime
	echo "nfsd 127.0.0.1 2147483647 *" > /proc/net/rpc/auth.unix.ip/channel
	# Flags: insecure, no squashing, no subtree check, fsid.
	echo "* /tmp/export 2147483647 $((0x2402 | 0x200)) -2 -2 0" > /proc/net/rpc/nfsd.export/channel
	printf '* 1 \\x00000000 2147483647 /tmp/export\n' > /proc/net/rpc/nfsd.fh/channel
	echo "tcp 2049" > /proc/fs/nfsd/portlist
	echo 2 > /proc/fs/nfsd/threads || broken "start nfsd"
}

nfs_silent() {
	nfs_serve
	# Again and again: in a slow guest one that has served before may not be up again yet.
	wait_until 60 mount -t nfs4 -o addr=127.0.0.1,clientaddr=127.0.0.1,vers=4.2,hard,timeo=20,retrans=2 \
		127.0.0.1:/ /tmp/nfs || broken "mount 127.0.0.1:/"
	ls -l /tmp/nfs
	ip link set lo down
	read-nfs /tmp/nfs/file &
	reader=$!
	! watches hung_task || await '"comm": ?"read-nfs"'
	! watches kernel_log || await '"NFSServerNotResponding"'
	ip link set lo up
	wait_until 60 eval "! kill -0 $reader"
	! watches kernel_log || wait_until 60 grep -q '"NFSServerNotResponding".*"cleared"' /tmp/abnormals
	kill -KILL "$reader" 2> /dev/null
	umount -l /tmp/nfs
	echo 0 > /proc/fs/nfsd/threads
	umount /proc/fs/nfsd
	umount /tmp/export
}
