#!/usr/bin/env bash
# Builds an earlier commit of Telltale from this repository's own history, with that
# commit's own Makefile, as bench/bin/telltale-HASH, which the benchmarks put beside
# what there is now.
#
#	bench/base.sh b016c21
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

hash=$1
program=$PWD/bench/bin/telltale-$hash
[ -x "$program" ] && exit
git rev-parse --quiet --verify "$hash^{commit}" >/dev/null || {
	echo "bench: commit $hash is not in this clone's history (git fetch --unshallow): what is now stands alone" >&2
	exit 1
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
git archive "$hash" | tar -x -C "$dir"
make --no-print-directory -C "$dir" build VERSION="$hash"
mkdir -p bench/bin
mv "$dir/bin/telltale" "$program"
