#!/bin/sh
# A whole agent: it works in the task's worktree, says how far it is, and ends with 0 (done).
# 75 would mean "try again later", 79 "I need an answer", anything else "failed".
set -eu
echo "I am $HAIKUD_ROLE, attempt $HAIKUD_ATTEMPT at $HAIKUD_REF, in $WORKTREE_PATH"
echo '{"percent": 50, "message": "writing HELLO.md"}' >> "$HAIKUD_OUT/events.jsonl"
printf '# Hello\n\nWritten for task %s.\n' "$TASK_ID" > HELLO.md
git add HELLO.md
git commit -q -m "Say hello"
echo '{"summary": "HELLO.md says hello."}' > "$HAIKUD_OUT/result.json"
