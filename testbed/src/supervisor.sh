# Runs one program for a parent that may die at any moment without a chance to clean up.
#
# usage: sh supervisor.sh LOG PROGRAM [ARGUMENT…]
#
# Standard input is a pipe that only the parent holds. Each line on it is the name of a signal for the
# program; its end means that the parent is gone, however it died, and takes the program with it. The first
# line of standard output is the program's process id. The exit status is the program's, 128 plus the signal's
# number where a signal ended it.
log=$1
shift
exec 3<&0

# The program gets none of the supervisor's own pipes: a copy of the first would keep it alive after the
# parent's death.
"$@" 3<&- </dev/null >>"$log" 2>&1 &
program=$!
echo "$program"
exec >/dev/null 2>&1

{
  while read -r signal; do
    kill -s "$signal" "$program"
  done
  # The whole group, of which this shell is the leader: also what the program has started. A stopped program
  # dies from KILL as well.
  kill -s KILL -- "-$$" || kill -s KILL "$program"
} <&3 &
watcher=$!
exec 3<&-

wait "$program"
status=$?
kill -s KILL "$watcher"
exit "$status"
