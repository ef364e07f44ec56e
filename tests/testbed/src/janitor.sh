# Ends whatever runs from a cluster's folder and removes the folder, once its owner is gone.
#
# Standard input is a pipe whose other end the owner holds, so `read` returns when the owner says so or dies, however
# it dies. A shell, because it must outlive a process that may be any test binary, without a second binary to find.
# $1: the folder. Each line of its file `processes` is: process id, start time, name. A cluster with pods also has the
# names of its network namespaces, in `networks`.
read -r order
[ "$order" = keep ] && exit 0

# Process ids are reused: a process is the recorded one if it also started at the recorded time.
# After the last ")" in /proc/PID/stat come the state and, 20th, the start time (field 22 of proc_pid_stat(5)).
runs() {
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	started=$2
	set -- ${stat##*) }
	[ "$1" != Z ] && [ "${20}" = "$started" ]
}

# SIGKILL, as kube-apiserver is still there ten seconds after SIGTERM, and nothing here is worth a clean end.
# The whole group, which each of them leads.
while read -r pid started name; do
	runs "$pid" "$started" && kill -s KILL -- "-$pid"
done <"$1/processes"

tries=0
while read -r pid started name; do
	while runs "$pid" "$started" && [ $((tries += 1)) -lt 200 ]; do sleep 0.05; done
done <"$1/processes"

# What containerd leaves of a cluster with pods: it is not theirs to end with it.
if [ -e "$1/networks" ]; then
	containers=$(ls "$1/cd/state/io.containerd.runtime.v2.task/k8s.io" 2>/dev/null)

	# Each pod's shim has the address of its containerd among its arguments, and the first process of each container,
	# with which all others of it end, as a child.
	shims=$(grep -slzFx -e "$1/cd/c.sock" /proc/[0-9]*/cmdline | cut -d/ -f3)
	for shim in $shims; do
		kill -s KILL $(cat "/proc/$shim"/task/*/children 2>/dev/null) "$shim"
	done

	# Of two mounts below each other the inner one first.
	while read -r _ _ _ _ point _; do
		case $point in "$1"/*) echo "$point" ;; esac
	done </proc/self/mountinfo | sort -r | while read -r point; do umount -l "$point"; done

	# With links, routes, rules and connections in them.
	while read -r network; do ip netns del "$network"; done <"$1/networks"

	tries=0
	for container in $containers; do
		for group in /sys/fs/cgroup/*/k8s.io/"$container" /sys/fs/cgroup/k8s.io/"$container"; do
			until rmdir "$group" || [ ! -d "$group" ] || [ $((tries += 1)) -gt 200 ]; do sleep 0.05; done
		done
	done
fi

# Twice: a thread that is still ending may have made one more file.
rm -rf --one-file-system "$1" || { sleep 0.5; rm -rf --one-file-system "$1"; }
