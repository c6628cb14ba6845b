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
// when the directory tells of a change and, as bind mounts and network file
// systems do not tell, from time to time.
func (u *upstreams) follow(ctx context.Context, servers []Upstream, source string) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		u.log.Warn("resolv.conf is only looked at from time to time", "every", u.pace.poll, "error", err)
		w = &fsnotify.Watcher{} // its nil channels never tell of anything
	} else {
		defer w.Close()
		for _, dir := range resolvConfDirs(u.file) {
			_ = w.Add(dir) // one that is not there is left to the poll
		}
	}
	poll := time.NewTicker(u.pace.poll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		case e := <-w.Events:
			if filepath.Base(e.Name) != filepath.Base(u.file) && !strings.Contains(e.Name, "resolv") {
				continue
			}
		case <-w.Errors:
		}
		found, from := readResolvers(u.file)
		if from == source && slices.Equal(found, servers) {
			continue
		}
		servers, source = found, from
		u.mu.Lock()
		if ctx.Err() == nil {
			u.log.Info("the system's resolvers have changed", "file", source)
			u.swapLocked(servers, source)
		}
		u.mu.Unlock()
	}
}

// resolvConfDirs returns the directories in which a change of the file shows:
// its own, and where its links lead.
func resolvConfDirs(path string) []string {
	dirs := []string{filepath.Dir(path), filepath.Dir(resolvedUpstreams)}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		dirs = append(dirs, filepath.Dir(real))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
