#!/usr/bin/env bash
# Runs a command on two revisions of a repository, each of which leaves a dump, and writes the difference as Markdown.
#   heap-diff.sh BASE COMMAND OUT
# BASE is a revision; COMMAND runs in a worktree of BASE, then in the working directory; OUT is the Markdown file.
# HEAP_DIFF_COMMAND names heapledger's command (default: heapledger). Exit code: that of `heapledger diff`; 3 without a dump.
set -euo pipefail

base=$1 command=$2 out=$3
heapledger=${HEAP_DIFF_COMMAND:-heapledger}
scratch=$(mktemp -d)
trap 'git worktree remove --force "$scratch/base" 2>/dev/null || true; rm -rf "$scratch"' EXIT

# The largest dump is that of the program: others are of what it starts.
record() {
    local directory=$1 dumps=$2
    mkdir -p "$dumps"
    (cd "$directory" && HEAPLEDGER_DUMP="$dumps/heapledger.%e.%p.hl" bash -euo pipefail -c "$command") >&2
    local largest
    largest=$(find "$dumps" -name '*.hl' -printf '%s %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
    [[ -n $largest ]] || { echo "error: the command left no dump behind in $directory" >&2; exit 3; }
    printf '%s' "$largest"
}

git worktree add --quiet --detach "$scratch/base" "$base"
before=$(record "$scratch/base" "$scratch/before")
after=$(record "$PWD" "$scratch/after")
"$heapledger" diff --format markdown ${HEAP_DIFF_FLAGS:-} "$before" "$after" >"$out"
