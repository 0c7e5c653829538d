# Process 1 of the guest, second half, on the host's root: the mounts tests expect, then the job, then its exit code.
bb() { /run/busybox "$@"; }
. /run/settings
export PATH="$JOB_PATH" HOME=/root TERM=dumb LANG=C.UTF-8
bb mkdir -p /dev/pts /dev/shm
bb mount -t devpts devpts /dev/pts
bb mount -t tmpfs tmpfs /dev/shm
bb mount -t cgroup2 cgroup2 /sys/fs/cgroup || echo 'second: no cgroup2'
bb mount -t debugfs debugfs /sys/kernel/debug
bb ln -sf /proc/self/fd /dev/fd
bb ifconfig lo 127.0.0.1 up

port() { # the device behind a named virtio-serial port
  for entry in /sys/class/virtio-ports/*; do
    [ "$(bb cat "$entry/name")" = "$1" ] && echo "/dev/${entry##*/}"
  done
}
out=$(port output)
cd "$JOB_DIR" || echo "second: no $JOB_DIR"
/bin/sh /run/job >"$out" 2>&1 </dev/null
echo $? >"$(port result)"
bb sync
bb poweroff -f
