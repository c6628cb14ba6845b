# What tests run the documented lines of docker with, where there is no engine: the
# image's tree as the root of a chroot, its user, and its volumes as bind mounts.
# IMAGE is the tree (image-tree.sh), WORK a directory of the test's own. To be
# sourced in a mount, network and process namespace of its own.

container=$WORK/container
as_user() { chroot --userspec=65532:65532 "$container" "$@"; }
sudo() { "$@"; }

docker() {
	local verb=$1
	shift
	case $verb in
	build) mkdir -p "$container" && cp -a "$IMAGE"/root/. "$container" && cp -a "$IMAGE"/own/. "$container" && chown -R 65532:65532 $(cd "$IMAGE"/own && find . -mindepth 2 -type d -printf "$container/%P ") ;;
	run) docker_run "$@" ;;
	exec)
		shift # the container's name
		as_user "$@"
		;;
	*) echo "docker $verb is not known here" >&2; return 1 ;;
	esac
}

docker_run() {
	local variables=()
	while [ $# -gt 0 ]; do
		case $1 in
		-d) ;;
		--name | --network | --restart | --cap-add) shift ;;
		-e) variables+=("$2"); shift ;;
		-v) docker_volume "${2%%:*}" "${2#*:}"; shift ;;
		telltale) shift; break ;;
		*) echo "docker run $1 is not known here" >&2; return 1 ;;
		esac
		shift
	done
	mkdir -p "$container"/proc "$container"/etc
	mount -t proc proc "$container"/proc
	if [ $# = 0 ]; then set -- serve; fi
	# It has no name in the image, and its home is the data directory.
	(cd / && exec env -i PATH="$PATH" "${variables[@]}" chroot --userspec=65532:65532 "$container" /telltale "$@") >"$WORK/messages" 2>&1 &
}

# A volume by name begins with what the image has there; a directory is made by
# the engine, as root, where it is missing.
docker_volume() {
	local from=$1 to=$container$2
	case $from in
	/* | .*) mkdir -p "$from" ;;
	*)
		from=$WORK/volumes/$from
		if [ ! -d "$from" ]; then
			mkdir -p "$(dirname "$from")"
			cp -a "$to" "$from"
		fi
		;;
	esac
	mount --bind "$from" "$to"
}
