# Ends whatever runs from a cluster's folder and removes the folder, once its owner is gone.
#
# Standard input is a pipe whose other end the owner holds, so `read` returns when the owner says so or dies, however
# it dies. A shell, because it must outlive a process that may be any test binary, without a second binary to find.
# $1: the folder. Each line of its file `processes` is: process id, start time, name.
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

# Twice: a thread that is still ending may have made one more file.
rm -rf "$1" || { sleep 0.5; rm -rf "$1"; }
