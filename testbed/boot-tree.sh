#!/bin/bash
# Boots the systemd of the tree $1 as PID 1 in namespaces of its own; $2: "up" or "down", the loopback link.
# pivot_root, not chroot: under chroot PrivateUsers= fails. Called by testbed/booted.py under unshare.
set -eu
tree=$1
mount --make-rprivate /
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount -t sysfs sysfs "$tree/sys"
mount -t cgroup2 cgroup2 "$tree/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
mount -t tmpfs -o mode=755 tmpfs "$tree/dev"
for device in null zero full random urandom tty; do
    cp -a "/dev/$device" "$tree/dev/"
done
mkdir -p "$tree/dev/pts" "$tree/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$tree/dev/pts"
ln -s pts/ptmx "$tree/dev/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$tree/dev/shm"
if [ "$2" = up ]; then
    ip link set lo up
fi
hostname device
cd "$tree"
mkdir -p old
pivot_root . old
cd /
umount -l /old
exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --log-target=journal --show-status=false
