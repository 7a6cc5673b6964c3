#!/bin/bash
# The agent of the kill storm: storm_agent.sh KIND. It does its steps once each, whatever became of earlier attempts,
# and is a witness of its own: it says so in $STORM/violations when another agent of its task is alive.
# $STORM: a folder outside the spool. Bounded: the child in the background ends by itself after a minute.
set -u
kind=$1 ref=$HAIKUD_REF attempt=$HAIKUD_ATTEMPT steps=${TASK_ID##*x}
place=$STORM/presence/$ref beats=$STORM/beats/$ref
exec 9<> <(:) # to wait on: `read -t` starts no process

started_at() { # start time and state of a process, into $start and $state
    local line
    { read -r line < "/proc/$1/stat"; } 2> /dev/null || return 1
    # shellcheck disable=SC2086
    set -- ${line##*) }
    state=$1 start=${20}
}
breach() { printf 'agent: %s\n' "$*" >> "$STORM/violations"; }
leave() { # exit with that code, and have it said if someone took our place meanwhile
    [[ $(readlink "$place") == "$me" ]] || breach "$ref attempt $attempt ($$) was pushed out of its place while it lived"
    rm -f "$place"
    exit "$1"
}

started_at $$
me=$$:$start:$attempt
# A symlink is made with its text in one step: whoever finds it knows who made it.
until ln -sT "$me" "$place" 2> /dev/null; do
    other=$(readlink "$place") || continue
    IFS=: read -r pid since number <<< "$other"
    if started_at "$pid" && [[ $start == "$since" && $state != [ZX] ]]; then
        breach "$ref: agent of attempt $number ($pid) lives while attempt $attempt ($$) starts"
        break
    fi
    rm -f "$place"
done
echo "start $attempt" >> "$beats"
# shellcheck disable=SC2016
setsid bash -c 'exec 9<> <(:); for ((n = 0; n < 1500; n++)); do echo "beat $1" >> "$2"; read -rt 0.04 -u 9; done' \
    beat "$attempt" "$beats" > /dev/null 2>&1 &

if [[ $kind == falters ]] && mkdir "$STORM/once/$ref" 2> /dev/null; then
    echo "cannot work just now"
    leave 75
fi
if [[ $kind == asks ]]; then
    if [[ -z ${HAIKUD_GUIDANCE_FILE:-} ]]; then
        echo "Which way, $ref?"
        leave 79
    fi
    grep -q "this way, $ref" "$HAIKUD_GUIDANCE_FILE" || breach "$ref attempt $attempt got no answer of its own"
fi
for ((step = 1; step <= steps; step++)); do
    mark=markers/$ref/$step
    mkdir -p "markers/$ref"
    [[ -s $mark ]] || echo "$ref step $step" >> "$mark"
    read -rt "0.0$((RANDOM % 9 + 1))" -u 9
    git log --format=%s > "$TMPDIR/done" || leave 75
    if ! grep -qxF "$ref step $step" "$TMPDIR/done"; then
        said=$({ git add -- "$mark" && git commit -q -m "$ref step $step"; } 2>&1) || {
            printf '%s attempt %s: %s\n' "$ref" "$attempt" "$said" >> "$STORM/git-said"
            leave 75
        }
    fi
    read -rt "0.$((RANDOM % 5))$((RANDOM % 9 + 1))" -u 9
done
[[ $kind == fails ]] && leave 3
echo "STORM DONE $ref"
leave 0
