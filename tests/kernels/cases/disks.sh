# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Disks of device mapper on an image of their own, for several faults.

# device_mapper NAME TABLE: /dev/mapper/NAME, with a number that no disk had before: the same number is the same disk
device_mapper() {
	module dm-mod
	echo >> /tmp/disks
	dmsetup create "$1" --major "$(sed -n 's/ device-mapper$//p' /proc/devices)" --minor "$(wc -l < /tmp/disks)" \
		--table "$2" || broken "create $1"
}

# disk_create NAME linear|delay [MILLISECONDS]: one with an ext4 on it
disk_create() {
	module loop
	[ "$2" != delay ] || module dm-delay
	cp /image "/tmp/$1.image"
	disk=$(losetup -f)
	losetup "$disk" "/tmp/$1.image" || broken "set up $disk"
	size=$(($(blockdev --getsize64 "$disk") / 512))
	device_mapper "$1" "0 $size $2 $disk 0${3:+ $3}"
}

# disk_remove NAME: once nobody uses it any more
disk_remove() {
	wait_until 20 dmsetup remove "$1"
	disk=$(losetup -a | sed -n "s|^\(/dev/[^:]*\):.* /tmp/$1.image.*|\1|p")
	if [ "$disk" ]; then
		losetup -d "$disk"
		rm "/tmp/$1.image"
	fi
}
