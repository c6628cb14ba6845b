#!/usr/bin/env bash
# Builds the final stage of the Dockerfile from a program built here, without a
# container engine or a registry, and runs it: test-image.sh [BINARY]. Needs
# root, and Debian's buildah, iproute2 and libcap2-bin, which it installs.
set -euo pipefail
if [ $# != 0 ]; then
	set -- "$(realpath -- "$1")" # relative to the caller's directory
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(id -u)" != 0 ]; then
	echo 'skipping: building an image needs root' >&2
	exit 0
fi
for program in buildah ip setcap; do
	command -v "$program" >/dev/null && continue
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends buildah ca-certificates iproute2 libcap2-bin tzdata >/dev/null
	break
done

# A network of its own, where port 53 is free and privileged, and processes of
# its own, which all end with this script.
if [ -z "${IN_OWN_NETWORK:-}" ]; then
	if [ $# = 0 ]; then
		make build
		set -- bin/telltale
	fi
	exec env IN_OWN_NETWORK=1 unshare --net --pid --fork --kill-child --mount-proc -- packaging/test-image.sh "$@"
fi
ip link set lo up

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
store=(--root "$work/storage" --runroot "$work/run" --storage-driver vfs)
fail() {
	cat "$work/messages" >&2 2>/dev/null || true
	echo "FAIL: $*" >&2
	exit 1
}

packaging/image-tree.sh "$1" "$work/context/image"
{
	printf 'FROM scratch AS build\nCOPY image/ /image/\n'
	sed -n '/^FROM scratch/,$p' Dockerfile
} >"$work/Dockerfile"
buildah "${store[@]}" build --quiet --isolation chroot --format docker --tag telltale -f "$work/Dockerfile" "$work/context" >/dev/null

described=$(buildah "${store[@]}" inspect --type image telltale)
for want in '"User": "65532:65532"' '"/var/lib/telltale": {}' '"53/udp": {}' '"53/tcp": {}' '"healthcheck"'; do
	grep -qF "$want" <<<"$described" || fail "the image does not say $want"
done

container=$(buildah "${store[@]}" from telltale)
files=$(buildah "${store[@]}" mount "$container")
[ -s "$files/etc/ssl/certs/ca-certificates.crt" ] || fail 'no CA certificates'
[ -s "$files/usr/share/zoneinfo/Europe/Berlin" ] || fail 'no time zones'
[ "$(stat -c %u:%a "$files/telltale")" = 0:755 ] || fail 'the program is not root'"'"'s alone'
[ "$(stat -c %u:%a "$files/var/lib/telltale")" = 65532:700 ] || fail 'the data directory is not the user'"'"'s alone'
PATH="$PATH:/usr/sbin:/sbin" getcap "$files/telltale" | grep -q cap_net_bind_service=ep || fail 'the program may not listen on port 53'
[ "$(stat -c %u "$files/etc/telltale/lists.d")" = 65532 ] || fail 'the list directory is not the user'"'"'s'
if find "$files" -xdev -type f -perm /0111 ! -path "$files/telltale" | grep .; then
	fail 'there is another program in the image'
fi

in_container() { buildah "${store[@]}" run --isolation chroot "$container" -- "$@"; }
in_container /telltale version
in_container /telltale serve >"$work/messages" 2>&1 &
for try in $(seq 50); do
	if in_container /telltale healthcheck >"$work/health" 2>&1; then
		echo "PASS: healthy on port 53 after try $try, $(du -sh "$files" | cut -f1) in all"
		exit 0
	fi
	sleep 0.2
done
fail 'not healthy after 10 seconds'
