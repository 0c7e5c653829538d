#!/bin/sh
# Process 1 of the guest, first half: reach the host's files (read-only, changes go to memory) and go over to them.
bb() { /bin/busybox "$@"; }
bb mount -t proc proc /proc
bb mount -t sysfs sysfs /sys
bb mount -t devtmpfs devtmpfs /dev
exec >/dev/console 2>&1 # the archive has no device node, so nothing was open until here
while read -r module; do bb insmod "/modules/$module" || echo "init: insmod $module failed"; done </modules.list
. /settings

give_up() {
  echo "init: $1"
  bb poweroff -f
}
bb mount -t virtiofs -o ro host /host || give_up 'no host files'
bb mount -t tmpfs -o mode=755 tmpfs /rw
bb mkdir /rw/upper /rw/work
bb mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work overlay /new || give_up 'no overlay'

bb mkdir -p /new/run
bb mount -t tmpfs tmpfs /new/run # runtime state of the host means nothing here
bb mkdir -p "/new/usr/lib/modules/$RELEASE"
bb mount --bind "/new$MODULES" "/new/usr/lib/modules/$RELEASE" || echo 'init: no modules'
for dir in proc sys dev; do bb mount --move /$dir /new/$dir; done
bb cp /bin/busybox /settings /job /second /new/run/
exec /bin/busybox switch_root /new /run/busybox sh /run/second
