#!/usr/bin/env bash
# @adguard/hostlist-compiler drops a plain name that has a comment behind it, and keeps the same line with an address before it.
#
# Version    @adguard/hostlist-compiler 2.1.1 (npm), with @adguard/diff-builder 1.1.7.
# One would guess   "p1.example # note" is read as "0.0.0.0 h1.example # note" is: the comment goes, the name stays. Or,
#            if the comment disturbs, that it does so in both.
# True       RemoveComments takes whole lines only. Compress understands the comment in a hosts line and writes
#            ||h1.example^; the plain name keeps its comment and is no longer a name. Validate then drops it, and the
#            same for ||q1.example^ with a comment. The exit status is 0; without --verbose no line names what went.
#            A plain name without a comment is turned into ||p2.example^, which is wider: it covers all names below.
# Output     with Compress and Validate: ||h1.example^ ||p2.example^
#            with Compress alone: ||h1.example^ p1.example # note ||p2.example^ ||q1.example^ # note
# Why a sinkhole cares   Lists of plain names with a reason behind each name are common. A sinkhole that exports its rules
#            so loses all of them in the tool that AdGuard's own DNS filter is built with. An exporter must put notes on lines of their own.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
cat >package.json <<'EOF'
{
  "private": true,
  "dependencies": {"@adguard/hostlist-compiler": "2.1.1"},
  "overrides": {"@adguard/diff-builder": "1.1.7"}
}
EOF
npm install --prefix . --ignore-scripts --no-audit --no-fund --silent >&2 || { echo "cannot be tried here: npm install failed"; exit 2; }

cat >in.txt <<'EOF'
0.0.0.0 h1.example # note
p1.example # note
p2.example
||q1.example^ # note
EOF

failed=0
# want OUTPUT TRANSFORMATION... compiles in.txt and compares the rules that are left.
want() {
	local output=$1 list got
	shift
	list=$(printf '"%s",' "$@")
	echo "{\"name\": \"n\", \"sources\": [{\"source\": \"in.txt\"}], \"transformations\": [${list%,}]}" >config.json
	if ! node_modules/.bin/hostlist-compiler -c config.json -o out.txt >log 2>&1; then
		cat log
		echo "differs: hostlist-compiler fails"
		failed=1
		return
	fi
	got=$(grep -v '^!' out.txt | grep . | paste -sd ' ' | tr -s ' ')
	echo "$*: $got"
	[ "$got" = "$output" ] || { echo "differs: $* left '$got', not '$output'"; failed=1; }
}
want "||h1.example^ ||p2.example^" RemoveComments Compress Validate
want "||h1.example^ p1.example # note ||p2.example^ ||q1.example^ # note" RemoveComments Compress
exit $failed
