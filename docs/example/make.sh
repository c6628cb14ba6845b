#!/bin/sh
# Makes the made-up home of this page in ./dispute (or the directory that is given), and runs
# the commands of the page on it. It needs Go, no network beside Go's modules, and some minutes.
set -eu
cd "$(dirname "$0")/../.."
dir=${1:-$PWD/dispute}
[ ! -e "$dir" ] || { echo "$dir is there already: remove it, or name another directory" >&2; exit 1; }
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
DISPUTE_DIR=$dir ${GO:-go} test -count 1 ./evidence/dispute
CGO_ENABLED=0 ${GO:-go} build -o "$dir/telltale" ./cmd/telltale
cd "$dir" # where the settings' paths begin
sed -n 's/^\$ telltale //p' "$OLDPWD/docs/example/README.md" | while read -r line; do
	echo "\$ telltale $line"
	TELLTALE_CONFIG=$dir/telltale.yaml ./telltale $line </dev/null
done
