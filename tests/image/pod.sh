# Runs the program of an image as a container: its files as the root, read-only, as nobody in particular.
#
# usage: unshare --mount sh pod.sh ROOT MOUNTS PROGRAM [ARGUMENT…]
#
# MOUNTS is a directory whose files are put over those of the image at the same paths, as the kubelet does with volumes
# and with its own files.
set -eu
root=$1
mounts=$2
shift 2

mount --bind "$root" "$root"
(cd "$mounts" && find . -type f) | while read -r file; do
    # A runtime makes the mount points, too.
    mkdir -p "$root/$(dirname "$file")"
    [ -e "$root/$file" ] || : > "$root/$file"
    mount --bind "$mounts/$file" "$root/$file"
    mount -o remount,bind,ro "$root/$file"
done
# In every container (OCI runtime specification, default devices). Linked statically, the program reads random numbers
# from the device. There is no /tmp, which it has no use for.
mkdir -p "$root/proc" "$root/dev"
mount -t proc -o ro,nosuid,nodev,noexec proc "$root/proc"
for device in null zero full random urandom; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,bind,ro "$root"
# The three capabilities are those that chroot itself needs. They go with the change of user, which no program can undo.
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot,+setuid,+setgid \
    chroot --userspec=65532:65532 --groups= "$root" "$@"
