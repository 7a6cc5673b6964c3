#!/bin/bash
# In fresh namespaces: build a root folder on an overlay of the machine's own, and become its systemd.
#   inside.sh FOLDER BINDS      FOLDER is ours to mount on; BINDS has lines FROM<tab>TO, shown read-only inside
# Nothing outside changes: what is written goes to a tmpfs that dies with us.
set -eu
top=$1/top root=$1/top/root

mkdir -p "$top"
mount -t tmpfs -o mode=755 top "$top"
mkdir "$top/upper" "$top/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" overlay "$root"

# Folders that must be fresh: nothing of the machine's life belongs here.
for place in run:755 tmp:1777 dev:755 home:755 var/tmp:1777; do
  mkdir -p "$root/${place%:*}"
  mount -t tmpfs -o "mode=${place#*:}" fresh "$root/${place%:*}"
done
while IFS=$'\t' read -r from to; do
  mkdir -p "$root$to"
  mount --bind "$from" "$root$to"
  mount -o remount,bind,ro "$root$to"
done <"$2"

for node in null zero full random urandom tty; do
  touch "$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
# A /proc without anything mounted over it must be somewhere, else the kernel lets nobody mount one in a namespace of
# his own, and bwrap cannot run.
mkdir -p "$root/run/whole/proc"
chmod 700 "$root/run/whole"
mount -t proc proc "$root/run/whole/proc"

if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else # v1 controllers beside a v2 without any
  mount -t tmpfs -o mode=755 cgroups "$root/sys/fs/cgroup"
  while IFS=: read -r _ controller _; do
    name=${controller#name=}
    name=${name:-unified}
    mkdir "$root/sys/fs/cgroup/$name"
    case $controller in
      '') mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/$name" ;;
      name=*) mount -t cgroup -o "none,$controller" cgroup "$root/sys/fs/cgroup/$name" ;;
      *) mount -t cgroup -o "$controller" cgroup "$root/sys/fs/cgroup/$name" ;;
    esac || rmdir "$root/sys/fs/cgroup/$name"
  done </proc/self/cgroup
fi

# Of the units only the base, dbus and logins are wanted; nothing that belongs to hardware or to the machine.
units=$root/etc/systemd/system
rm -rf "$units" "$root/etc/systemd/user/default.target.wants"
mkdir -p "$units"
for unit in systemd-{udevd,udev-trigger,timesyncd,networkd,resolved,firstboot,sysctl,modules-load,remount-fs}.service \
  systemd-{machine-id-commit,update-utmp,hwdb-update,update-done,binfmt,pcrphase,pcrphase-sysinit,random-seed}.service \
  systemd-udevd-{control,kernel}.socket systemd-journald-audit.socket getty.target kmod-static-nodes.service \
  dev-{hugepages,mqueue}.mount sys-kernel-{debug,tracing,config}.mount sys-fs-fuse-connections.mount \
  proc-sys-fs-binfmt_misc.{automount,mount} modprobe@.service; do
  ln -s /dev/null "$units/$unit"
done
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' >"$units/tests.target"
: >"$root/etc/fstab"
rm -rf "$root/etc/machine-id" "$root/var/log/journal" "$root/var/lib/haikud" "$root/etc/haikud"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
hostname haikud-tests
ip link set lo up 2>/dev/null || true

cd "$root"
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
mount --make-rshared / # as systemd does by itself outside of containers: credentials reach a service by it
for init in /lib/systemd/systemd /usr/lib/systemd/systemd; do
  [ ! -x "$init" ] || break
done
# Without the capabilities by which the machine could be rebooted, its clock set or its modules changed.
exec env -i container=tests LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  setpriv --inh-caps=-all \
  --bounding-set=-sys_boot,-sys_time,-sys_module,-sys_rawio,-audit_control,-audit_read,-audit_write,-syslog \
  "$init" --system --unit=tests.target --show-status=0
