#!/usr/bin/env bash
# The Helm chart is well formed, and what it makes are settings and commands that Telltale takes:
# test-helm.sh [BINARY]. Needs go; $HELM is a helm, which is built in a temporary folder where it is not set.
set -euo pipefail
[ $# = 0 ] || binary=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

if [ -z "${binary:-}" ]; then
	binary=$dir/telltale
	go build -o "$binary" ./cmd/telltale
fi
if [ -z "${HELM:-}" ]; then
	GOBIN=$dir CGO_ENABLED=0 go install helm.sh/helm/v3/cmd/helm@v3.16.4
	HELM=$dir/helm
fi
chart=packaging/helm/telltale
failed=0
fail() {
	echo "FAILED: $*" >&2
	failed=1
}

# settings TEMPLATE OPTIONS...: the telltale.yaml in what is rendered of a template.
settings() {
	"$HELM" template home "$chart" -n dns --show-only "templates/$1" "${@:2}" |
		awk '/^  telltale.yaml: \|/ { on = 1; next } on && /^---|^[^ ]/ { exit } on { print substr($0, 5) }'
}

# valid NAME TEMPLATE OPTIONS...: Telltale takes the settings of a template, with folders of this test's.
valid() {
	settings "${@:2}" >"$dir/telltale.yaml"
	[ -s "$dir/telltale.yaml" ] || fail "$1: no settings"
	mkdir -p "$dir/data" "$dir/lists"
	sed -i "s,/var/lib/telltale,$dir/data,; s,/etc/telltale/lists.d,$dir/lists," "$dir/telltale.yaml"
	"$binary" validate --config "$dir/telltale.yaml" >"$dir/said" 2>&1 || fail "$1: $(cat "$dir/said" "$dir/telltale.yaml")"
}

cat >"$dir/more.yaml" <<-'YAML'
	image: {repository: registry.example/telltale, tag: "1.2.3"}
	center:
	  address: ["https://telltale.example.net:5390", "https://second.example.net:5390"]
	  settings: {center: {first: [attic]}, devices: [{name: tv, mac: "02:00:5e:10:00:01"}], log: {listed: 30d}}
	  lists: {own.txt: "tracker.example\n", ads.txt: "ads.example\n"}
	  storeSecret: {name: telltale-store}
	  storage: {size: 5Gi, class: fast}
	  metrics: false
	  nodeSelector: {disk: ssd}
	  tolerations: [{operator: Exists}]
	node:
	  settings: {listen: {dns: ["192.0.2.1:53"]}, fleet: {unlisted: true}}
	  lists: {local.txt: "x.example\n"}
	  metricsPort: 0
	  nodeSelector: {dns: "yes"}
YAML

for options in "" "-f $dir/more.yaml" "--set node.enabled=false" "--set center.enabled=false"; do
	# shellcheck disable=SC2086
	"$HELM" lint --strict "$chart" $options >"$dir/said" 2>&1 || fail "helm lint $options: $(cat "$dir/said")"
	# shellcheck disable=SC2086
	"$HELM" template home "$chart" -n dns $options >"$dir/all.yaml" || fail "helm template $options"
	for word in $(sed -n 's/^ *args: \[\([a-z]*\).*/\1/p' "$dir/all.yaml"); do
		"$binary" "$word" --help >/dev/null 2>&1 || fail "there is no command $word"
	done
	for variable in $(sed -n 's/.*name: \(TELLTALE_[A-Z_]*\).*/\1/p' "$dir/all.yaml"); do
		grep -q "\`$variable\`" docs/configuration.md || fail "there is no variable $variable"
	done
	[ "$(grep -c '^ *enableServiceLinks: false' "$dir/all.yaml")" = "$(grep -c '^kind: \(StatefulSet\|DaemonSet\)' "$dir/all.yaml")" ] || fail "$options: a pod has variables of services, which would be settings"
done
valid "center" center-settings.yaml
valid "node" node-settings.yaml
valid "center with more" center-settings.yaml -f "$dir/more.yaml"
grep -q 'first:' "$dir/telltale.yaml" && grep -q 'second.example.net' "$dir/telltale.yaml" || fail "settings of values are not in those of the center: $(cat "$dir/telltale.yaml")"
valid "node with more" node-settings.yaml -f "$dir/more.yaml"
if "$HELM" template home "$chart" --set 'center.lists.ads\.yaml=x' >/dev/null 2>&1; then
	fail "a list file of another ending is taken"
fi
# A test that cannot fail shows nothing: a setting that there is not is found.
settings center-settings.yaml --set center.settings.center.nonsense=1 >"$dir/telltale.yaml"
if "$binary" validate --config "$dir/telltale.yaml" >/dev/null 2>&1; then
	fail "a setting that there is not is taken"
fi
[ $failed = 0 ] && echo "the chart is well formed, and Telltale takes what it makes ($("$HELM" version --short))"
exit $failed
