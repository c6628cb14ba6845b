#!/usr/bin/env bash
# AdGuard's urlfilter: a bare name blocks one name, and the same bare name behind @@ allows every name that contains it.
#
# Version    github.com/AdguardTeam/urlfilter v0.20.0 (Go module), its DNS engine.
# One would guess   "example.org" and "@@example.org" are mirror images: what the one blocks, the other allows.
# True       A line that is a name is a hosts rule and matches this name only, not one below it. With @@ before it the
#            line is a network rule, that is, a substring: it also allows sub.example.org and
#            notexample.org.tracker.test, even where that name is blocked by a line of its own.
# Output     block example.org: example.org blocked, sub.example.org passed
#            allow example.org: notexample.org.tracker.test allowed
#            allow ||example.org^: notexample.org.tracker.test blocked
# Why a sinkhole cares   An importer that reads "@@name" as the inverse of "name" allows less than AdGuard does, one that
#            reads it as a substring lets strangers' names through. An exporter must write @@||name^ and never @@name.
set -euo pipefail

tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
cd "$tmp"
cat >go.mod <<'EOF'
module probe

go 1.23

require github.com/AdguardTeam/urlfilter v0.20.0
EOF
cat >main.go <<'EOF'
package main

import (
	"fmt"
	"os"

	"github.com/AdguardTeam/urlfilter"
	"github.com/AdguardTeam/urlfilter/filterlist"
)

// main prints what the DNS engine says of the name in the second argument under the rules in the first.
func main() {
	list := &filterlist.StringRuleList{ID: 1, RulesText: os.Args[1]}
	storage, err := filterlist.NewRuleStorage([]filterlist.RuleList{list})
	if err != nil {
		panic(err)
	}
	result, matched := urlfilter.NewDNSEngine(storage).Match(os.Args[2])
	switch {
	case !matched:
		fmt.Println("passed")
	case result.NetworkRule != nil && result.NetworkRule.Whitelist:
		fmt.Println("allowed")
	default:
		fmt.Println("blocked")
	}
}
EOF
GOFLAGS=-mod=mod go build -o probe . >build.log 2>&1 || { cat build.log; echo "cannot be tried here: the module cannot be built"; exit 2; }

failed=0
# want OUTPUT RULES NAME compares the engine's decision with what was seen.
want() {
	local got
	got=$(./probe "$2" "$3")
	echo "${2//$'\n'/ + }: $3 $got"
	[ "$got" = "$1" ] || { echo "differs: $3 is $got, not $1"; failed=1; }
}
stranger=notexample.org.tracker.test
want blocked "example.org" example.org
want passed "example.org" sub.example.org
want passed "example.org" $stranger
want allowed $'||tracker.test^\n@@example.org' $stranger
want allowed "$stranger"$'\n@@example.org' $stranger
want blocked "$stranger"$'\n@@||example.org^' $stranger
exit $failed
