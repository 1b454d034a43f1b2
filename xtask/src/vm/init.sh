#!/bin/busybox sh
# The first process of the machine: mounts what programs expect, runs /command, and tells the
# console how it ended.
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/sbin HOME=/root TMPDIR=/data NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug
mkdir -p /dev/pts && mount -t devpts devpts /dev/pts
ip link set lo up
for module in $(ls /modules | sort -n); do
    insmod "/modules/$module" 2>/dev/null || echo "init: $module was not loaded"
done
mount -t ext4 /dev/vda /data || echo "init: /data could not be mounted"
# Programs, where they were built: not before what hides that place is mounted.
sh /links
cd /data || exit
echo "init: ready"
sh /command </dev/null
echo "init: status $?"
poweroff -f
