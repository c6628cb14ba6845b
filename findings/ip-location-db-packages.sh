#!/usr/bin/env bash
# Packages of free address databases: their README says that their data is wrong, and another licence than package.json.
#
# Versions   @ip-location-db/geo-whois-asn-country-mmdb and @ip-location-db/geo-whois-asn-country, 2.3.2026061719: npm
#            packages, the last ones.
# One would guess   The packages are the project's usual way out, so the last one is the best one. Its licence is the one
#            that its package.json names, CC0, by which a product may embed it without a word.
# True       The README in the package warns of mistakes in the data of these packages and asks to take the project's
#            releases instead. It has the database under CC BY 4.0, with an attribution to NRO. package.json says CC0-1.0.
# Output     geo-whois-asn-country-mmdb: package.json CC0-1.0; README CC BY 4.0, warns of its data: yes
#            geo-whois-asn-country: package.json CC0-1.0; README CC BY 4.0, warns of its data: yes
# Why a sinkhole cares   "It led to a network in such a country" is a statement about somebody. A product that takes such a
#            package by its version and package.json makes it from data that its makers call wrong, and leaves out an
#            attribution that is asked for.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
for name in geo-whois-asn-country-mmdb geo-whois-asn-country; do
	package=@ip-location-db/$name@2.3.2026061719
	mkdir "$name"
	npm pack --silent --pack-destination "$name" "$package" >/dev/null || { echo "cannot be tried here: npm pack failed" >&2; exit 2; }
	tar -xzf "$name"/*.tgz -C "$name"
	licence=$(sed -n 's/.*"license": *"\([^"]*\)".*/\1/p' "$name/package/package.json")
	readme=$(grep -F "/$name/" "$name/package/README.md" | grep -o 'CC[ -]BY 4.0\|CC0\|PDDL' | head -n 1)
	warns=no
	if grep -qi 'incorrect data' "$name/package/README.md"; then warns=yes; fi
	echo "$name: package.json $licence; README $readme, warns of its data: $warns"
done >output
cat output
diff output - <<'EOF' || { echo "differs: see above"; exit 1; }
geo-whois-asn-country-mmdb: package.json CC0-1.0; README CC BY 4.0, warns of its data: yes
geo-whois-asn-country: package.json CC0-1.0; README CC BY 4.0, warns of its data: yes
EOF
