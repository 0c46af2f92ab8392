"""Small bash scripts for a node, which sees every process of its pods. Arguments follow the script's name."""

from __future__ import annotations

from okitoki_chaos.steps import Step

GONE_SECONDS = 10

# Prints the time before the signal and the time when nothing was left; the node has the cluster's only clock.
KILL = f"""
set -u
date +%s.%N
kill -KILL "$@"
for _ in $(seq {GONE_SECONDS * 100}); do
  left=
  for pid in "$@"; do
    state=$(awk '/^State:/ {{print $2}}' "/proc/$pid/status" 2>/dev/null)
    if [ -n "$state" ] && [ "$state" != Z ]; then left=$pid; fi
  done
  if [ -z "$left" ]; then date +%s.%N; exit 0; fi
  sleep 0.01
done
echo "process $left lives on" >&2
exit 1
"""

# The processes of containers whose command line matches: `PID START FIRST COMMAND`, FIRST 1 for a container's first.
# A container's id is in its processes' control group, under both versions of those.
_MATCHING = r"""
matching() {
  local regex=$1 id file dir line start; shift
  for id in "$@"; do
    for file in $(grep -l -F -- "$id" /proc/[0-9]*/cgroup 2>/dev/null); do
      dir=${file%/cgroup}
      line=$(tr '\0' ' ' 2>/dev/null < "$dir/cmdline") || continue
      [[ $line =~ $regex ]] || continue
      start=$(awk '{sub(/^.*\) /, ""); print $20}' "$dir/stat" 2>/dev/null) || continue
      [ -n "$start" ] || continue
      first=$(awk '/^NSpid:/ {print ($NF == 1 && NF > 2) ? 1 : 0}' "$dir/status" 2>/dev/null)
      echo "${dir#/proc/} $start ${first:-0} ${line:0:80}"
    done
  done
}
"""
LIST = _MATCHING + 'matching "$@"\n'

# Sends $1 to what matches, three times over: a process may have forked in between. Of STOP it says how many processes
# were seen stopped at once, and fails when none was: what watches over them may end them before anybody else looks.
SIGNAL = (
    _MATCHING
    + r"""
signal=$1; shift
stopped=0
for _ in 1 2 3; do
  for pid in $(matching "$@" | cut -d' ' -f1); do
    kill "-$signal" "$pid" 2>/dev/null || continue
    [ "$signal" = STOP ] || continue
    for _ in $(seq 50); do
      [ "$(awk '/^State:/ {print $2}' "/proc/$pid/status" 2>/dev/null)" = T ] && stopped=$((stopped + 1)) && break
    done
  done
done
[ "$signal" != STOP ] || [ "$stopped" -gt 0 ] || { echo "nothing was stopped" >&2; exit 1; }
echo "sent; $stopped seen stopped"
"""
)

# The states of what matches, as letters: T is stopped. `none` when nothing matches.
STATES = (
    _MATCHING
    + r"""
found=
while read -r pid _; do
  state=$(awk '/^State:/ {print $2}' "/proc/$pid/status" 2>/dev/null)
  [ -z "$state" ] || [ "$state" = Z ] || found="$found$state"
done < <(matching "$@")
echo "${found:-none}"
"""
)

# Which of PID:START still live; `gone` when none does. A start time tells a process from a later one of its number.
LIVING = r"""
for one in "$@"; do
  start=$(awk '{sub(/^.*\) /, ""); if ($1 != "Z") print $20}' "/proc/${one%:*}/stat" 2>/dev/null)
  [ "$start" = "${one#*:}" ] && echo "$one lives" && exit 0
done
echo gone
"""

# Kills container NAME of pod UID as soon as it runs, until it has not run for 8 s after a kill: it is held back.
BACK_OFF = r"""
command -v crictl > /dev/null || crictl() { nsenter -t 1 -m -- crictl "$@"; }
uid=$1 name=$2 until=$((SECONDS + $3)) kills=0 idle=$SECONDS
while [ $SECONDS -lt $until ]; do
  id=$(crictl ps -q --label "io.kubernetes.pod.uid=$uid" --name "^$name\$" | head -n 1)
  if [ -n "$id" ]; then
    pid=$(crictl inspect -o go-template --template '{{.info.pid}}' "$id" 2>/dev/null)
    if [ "${pid:-0}" -gt 1 ] && kill -KILL "$pid" 2>/dev/null; then kills=$((kills + 1)); idle=$SECONDS; fi
  elif [ $kills -gt 1 ] && [ $((SECONDS - idle)) -ge 8 ]; then
    echo "$kills kills"; exit 0
  fi
  sleep 0.2
done
echo "not held back after $kills kills" >&2
exit 1
"""


def script(node: str, name: str, text: str, *arguments: str, words: str = "") -> Step:
    """A step that runs one of these scripts on a node."""
    return Step("node", ("bash", "-c", text, name, *arguments), (node,), words)
