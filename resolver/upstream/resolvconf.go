package upstream

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"telltale/watch"
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
func readResolvers(path string) (servers []Server, source string) {
	return readResolversOr(path, resolvedUpstreams)
}

func readResolversOr(path, behindStub string) (servers []Server, source string) {
	addrs := readResolvConf(path)
	source = path
	if slices.ContainsFunc(addrs, isResolvedStub) {
		if behind := readResolvConf(behindStub); len(behind) > 0 {
			addrs, source = behind, behindStub
		}
	}
	for _, a := range addrs {
		servers = append(servers, Server{Addr: netip.AddrPortFrom(a, 53)})
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

// follow asks what resolv.conf names, as it changes, until ctx ends. servers and
// source are what is asked now. While a file that named servers names none, or is
// gone, those stay in use: programs that rewrite it leave it so for a moment, and
// whoever removes it for good had better name others.
func (u *Client) follow(ctx context.Context, servers []Server, source string) {
	kept := false
	o := watch.Options{Poll: u.pace.poll, Quiet: u.pace.quiet, Failed: func(err error) { u.watchFailed(ctx, err) }}
	watch.Run(ctx, o, func() []string { return []string{u.file, resolvedUpstreams} }, func() {
		found, from := readResolvers(u.file)
		if len(found) == 0 && len(servers) > 0 {
			if !kept {
				u.log.Warn("the file names no DNS server any more; the last ones stay in use", "file", from)
			}
			kept = true
			return
		}
		kept = false
		others := !slices.EqualFunc(found, servers, func(a, b Server) bool { return a.is(&b) })
		if from != source || others {
			servers, source = found, from
			u.follows(ctx, servers, source, others)
		}
	})
}

// watchFailed says that a changed resolv.conf is found late, or no longer.
func (u *Client) watchFailed(ctx context.Context, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ctx.Err() != nil {
		return // others are asked by now
	}
	u.watchErr = err
	if err == nil {
		u.log.Info("resolv.conf is watched again")
		return
	}
	u.log.Warn("resolv.conf cannot be watched", "error", err)
}

// WatchErr returns why a changed resolv.conf is only found by polling; nil where it
// is found at once, or where the servers are configured ones.
func (u *Client) WatchErr() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.watchErr
}

// follows swaps the set, unless configured servers have been set meanwhile. others
// says that the servers are not those of before.
func (u *Client) follows(ctx context.Context, servers []Server, source string, others bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	u.log.Info("the system's resolvers have changed", "file", source)
	u.swapLocked(servers, source)
	if others {
		u.changed() // what the old network said of its own names is not so in the new one
	}
}

// HasPrivate reports whether a server that listens at self would have an upstream
// with a private address to ask.
func (o *Options) HasPrivate(self []netip.AddrPort) bool {
	servers := o.Servers
	if len(servers) == 0 {
		servers, _ = readResolvers(cmp.Or(o.ResolvConf, resolvConf))
	}
	return slices.ContainsFunc(servers, func(u Server) bool {
		if u.Router {
			return true // as far as can be said without the server
		}
		addr := netip.AddrPortFrom(u.Addr.Addr().Unmap(), u.Addr.Port())
		return isLocalServer(addr.Addr()) && !isSelf(addr, self)
	})
}
