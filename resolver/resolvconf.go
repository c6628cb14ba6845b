package resolver

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const resolvConf = "/etc/resolv.conf"

// resolvedUpstreams is where systemd-resolved names the servers that its stub
// (127.0.0.53, 127.0.0.54) asks.
const resolvedUpstreams = "/run/systemd/resolve/resolv.conf"

// maxResolvConf bounds what is read of a resolv.conf, in octets.
const maxResolvConf = 64 << 10

// readResolvers returns the servers a resolv.conf names and the file they stand
// in: systemd-resolved's own where path names but its stub. A file that is not
// there names none.
func readResolvers(path string) (servers []Upstream, source string) {
	return readResolversOr(path, resolvedUpstreams)
}

func readResolversOr(path, behindStub string) (servers []Upstream, source string) {
	addrs := readResolvConf(path)
	source = path
	if slices.ContainsFunc(addrs, isResolvedStub) {
		if behind := readResolvConf(behindStub); len(behind) > 0 {
			addrs, source = behind, behindStub
		}
	}
	for _, a := range addrs {
		servers = append(servers, Upstream{Addr: netip.AddrPortFrom(a, 53)})
	}
	return servers, source
}

func isResolvedStub(a netip.Addr) bool {
	return a == netip.AddrFrom4([4]byte{127, 0, 0, 53}) || a == netip.AddrFrom4([4]byte{127, 0, 0, 54})
}

func readResolvConf(path string) []netip.Addr {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if i, err := f.Stat(); err != nil || !i.Mode().IsRegular() {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(f, maxResolvConf))
	if err != nil {
		return nil
	}
	return parseResolvConf(text)
}

// parseResolvConf returns the addresses of the nameserver lines, in order. What
// else is in a resolv.conf concerns clients, and is left alone.
func parseResolvConf(text []byte) (addrs []netip.Addr) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(fields[1])
		if err != nil || a.IsUnspecified() || a.IsMulticast() {
			continue
		}
		if a = a.Unmap(); !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// follow asks what resolv.conf names, as it changes, until ctx ends. It looks
// when a directory tells of a change and, as bind mounts and network file
// systems do not tell, from time to time. servers and source are what is asked
// now.
func (u *upstreams) follow(ctx context.Context, servers []Upstream, source string) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		u.log.Warn("resolv.conf is only looked at from time to time", "every", u.pace.poll, "error", err)
	} else {
		defer w.Close()
	}
	poll := time.NewTicker(u.pace.poll)
	defer poll.Stop()
	for {
		// Links may lead elsewhere by now. What changes before the watch stands
		// is seen by the look behind it.
		paths := resolvConfPaths(u.file)
		watchDirs(w, paths)
		if found, from := readResolvers(u.file); from != source || !slices.Equal(found, servers) {
			servers, source = found, from
			u.follows(ctx, servers, source)
		}
		if !nextLook(ctx, poll.C, w, paths) {
			return
		}
		// Many write in two steps: the file is empty for a moment.
		if !sleepFor(ctx, u.pace.settle) {
			return
		}
	}
}

// sleepFor waits; false when ctx has ended.
func sleepFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// follows swaps the set, unless configured servers have been set meanwhile.
func (u *upstreams) follows(ctx context.Context, servers []Upstream, source string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ctx.Err() == nil {
		u.log.Info("the system's resolvers have changed", "file", source)
		u.swapLocked(servers, source)
	}
}

// nextLook waits until one of paths may have changed; false when ctx has ended.
// w may be nil.
func nextLook(ctx context.Context, poll <-chan time.Time, w *fsnotify.Watcher, paths []string) bool {
	var events chan fsnotify.Event
	var faults chan error
	if w != nil {
		events, faults = w.Events, w.Errors
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-poll:
			return true
		case <-faults: // events may have been lost
			return true
		case e := <-events:
			if slices.Contains(paths, e.Name) {
				return true
			}
		}
	}
}

// watchDirs watches the directories of paths: the files themselves are replaced.
func watchDirs(w *fsnotify.Watcher, paths []string) {
	if w == nil {
		return
	}
	for _, p := range paths {
		_ = w.Add(filepath.Dir(p)) // one that is not there is left to the poll
	}
}

// resolvConfPaths returns the files in which a change shows: the one at path,
// the one its links lead to, and systemd-resolved's.
func resolvConfPaths(path string) []string {
	paths := []string{filepath.Clean(path), resolvedUpstreams}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		paths = append(paths, real)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
