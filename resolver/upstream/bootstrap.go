package upstream

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"telltale/atomicfile"
	"telltale/dnswire"
)

// Bounds of the addresses of servers by name.
const (
	leastKept    = time.Minute // an address is used for so long, whatever its TTL says
	mostKept     = 24 * time.Hour
	secondFamily = 50 * time.Millisecond // how long the other family is waited for (RFC 8305, 3)
	maxAddresses = 16                    // of a name
	maxNames     = 64                    // in the file
	maxNamesFile = 64 << 10
)

// A bootstrap finds out where servers by name are: it asks resolvers that the settings name
// for that alone, in clear, and never this server. What it has found is used until the TTL
// ends, until nobody is there any more, or for as long as no resolver answers; it is kept
// over restarts.
type bootstrap struct {
	client *Client
	set    atomic.Pointer[serverSet] // whom to ask
	file   string                    // where it is kept; empty: nowhere

	mu    sync.Mutex
	names map[string]*serverName
}

// A serverName is what is known of a name.
type serverName struct {
	addrs   []netip.Addr
	until   time.Time // by the TTL
	doubted bool      // nobody is there any more
	asked   time.Time // when it was looked up last
	lookup  *nameLookup
}

// A nameLookup is under way.
type nameLookup struct {
	done chan struct{} // is closed at the end
	err  error         // set before that
}

// An unknownNameError means that it cannot be found out where a server is.
type unknownNameError struct {
	host string
	err  error
}

func (e *unknownNameError) Error() string {
	return fmt.Sprintf("has no address that is known: no bootstrap resolver says where %s is (%v)", e.host, e.err)
}
func (e *unknownNameError) Unwrap() error { return e.err }

// SetBootstrap asks these resolvers for the names of servers from now on.
func (u *Client) SetBootstrap(resolvers []netip.AddrPort) error {
	var servers []Server
	for _, a := range resolvers {
		s := Server{Addr: a}
		if err := s.check(); err != nil {
			return err
		}
		servers = append(servers, s)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ctx.Err() != nil {
		return nil
	}
	old := u.bootstrap.set.Load()
	next := u.newSetLocked(servers, "bootstrap", old, nil)
	u.bootstrap.set.Store(next)
	old.stopOthers(next)
	return nil
}

// addresses returns where host is.
func (b *bootstrap) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, lookup := b.known(host)
	if lookup == nil {
		return addrs, nil
	}
	select {
	case <-ctx.Done():
		return addrs, errOf(addrs, ctx.Err())
	case <-lookup.done:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	addrs = b.names[host].addrs
	return addrs, errOf(addrs, lookup.err)
}

// errOf returns err where there are no addresses: old ones are better than none.
func errOf(addrs []netip.Addr, err error) error {
	if len(addrs) > 0 {
		return nil
	}
	return err
}

// known returns what is known of a name, and the look-up to wait for; nil for none. One may
// be under way all the same.
func (b *bootstrap) known(host string) ([]netip.Addr, *nameLookup) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.names[host]
	if n == nil {
		n = &serverName{}
		b.names[host] = n
	}
	now := b.client.now()
	due := n.doubted || !now.Before(n.until) || n.until.Sub(now) > mostKept // the clock was wrong
	if n.lookup == nil && due && (len(n.addrs) == 0 || now.Sub(n.asked).Abs() >= time.Second) {
		lookup := &nameLookup{done: make(chan struct{})}
		n.lookup, n.asked = lookup, now
		b.client.tasks.Go(func() { b.lookUp(host, lookup) })
	}
	if len(n.addrs) > 0 && !n.doubted {
		return n.addrs, nil
	}
	return n.addrs, n.lookup
}

// doubt takes in that nobody is at any address of a name.
func (b *bootstrap) doubt(host string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.names[host]; n != nil {
		n.doubted = true
	}
}

// lookUp asks where host is.
func (b *bootstrap) lookUp(host string, lookup *nameLookup) {
	addrs, ttl, err := b.ask(host)
	b.mu.Lock()
	n := b.names[host]
	n.lookup = nil
	if len(addrs) > 0 {
		n.addrs, n.doubted = addrs, false
		n.until = b.client.now().Add(min(max(ttl, leastKept), mostKept))
	} else {
		lookup.err = &unknownNameError{host, err}
	}
	b.mu.Unlock()
	close(lookup.done)
	if len(addrs) > 0 {
		b.save()
	}
}

// ask asks for both families. One is enough.
func (b *bootstrap) ask(host string) (addrs []netip.Addr, ttl time.Duration, err error) {
	ctx, cancel := context.WithTimeout(b.client.ctx, b.client.budget)
	defer cancel()
	type found struct {
		addrs []netip.Addr
		ttl   time.Duration
		err   error
	}
	answers := make(chan found, 2)
	for _, family := range []uint16{dnswire.TypeA, dnswire.TypeAAAA} {
		b.client.tasks.Go(func() {
			var f found
			f.addrs, f.ttl, f.err = b.askFamily(ctx, host, family)
			answers <- f
		})
	}
	var limit <-chan time.Time
	for range 2 {
		select {
		case <-limit:
			return addrs, ttl, nil
		case f := <-answers:
			if len(f.addrs) == 0 {
				err = errors.Join(err, f.err)
				continue
			}
			if addrs == nil || f.ttl < ttl {
				ttl = f.ttl
			}
			addrs = append(addrs, f.addrs...)
			limit = time.After(secondFamily)
		}
	}
	if len(addrs) == 0 && err == nil {
		err = errors.New("it has no address")
	}
	return addrs, ttl, err
}

// askFamily asks for the addresses of one family, whatever the state of the resolvers: they
// may be there again.
func (b *bootstrap) askFamily(ctx context.Context, host string, family uint16) ([]netip.Addr, time.Duration, error) {
	q := &dnswire.Question{Type: family, Class: dnswire.ClassIN}
	if err := q.Name.Set(host); err != nil {
		return nil, 0, err
	}
	var list []candidate
	for rank := range uint8(ranks + 1) {
		for _, m := range b.set.Load().all {
			if m.rank() == rank && !m.is(Looped) {
				list = append(list, candidate{Upstream: m, outcome: silent})
			}
		}
	}
	if len(list) == 0 {
		return nil, 0, errors.New("none can be asked: add \"upstream_bootstrap: [ADDRESS]\" to telltale.yaml, or the server's addresses to its entry")
	}
	x := b.client.newExchange(q, list)
	x.onlyNow = true
	a, err := x.run(ctx, 0, false)
	if err != nil {
		return nil, 0, err
	}
	defer a.Release()
	addrs, ttl := addressesIn(a.Wire, family)
	return addrs, ttl, nil
}

// addressesIn returns the addresses in an answer that checkReply has found good, and their
// shortest lifetime. Whose they are is for the certificate of who is there to show.
func addressesIn(answer []byte, family uint16) (addrs []netip.Addr, ttl time.Duration) {
	off := dnswire.HeaderLen
	for range binary.BigEndian.Uint16(answer[4:]) {
		if off = skipOwner(answer, off); off == 0 {
			return nil, 0
		}
		off += 4
	}
	for range binary.BigEndian.Uint16(answer[6:]) {
		if off = skipOwner(answer, off); off == 0 || off+10 > len(answer) {
			return addrs, ttl
		}
		typ, seconds, data := binary.BigEndian.Uint16(answer[off:]), binary.BigEndian.Uint32(answer[off+4:]), off+10
		if off = data + int(binary.BigEndian.Uint16(answer[off+8:])); off > len(answer) {
			return addrs, ttl
		}
		addr, ok := netip.AddrFromSlice(answer[data:off])
		addr = addr.Unmap()
		if typ != family || !ok || addr.IsUnspecified() || addr.IsMulticast() || len(addrs) >= maxAddresses || slices.Contains(addrs, addr) {
			continue
		}
		if lives := time.Duration(seconds) * time.Second; addrs == nil || lives < ttl {
			ttl = lives
		}
		addrs = append(addrs, addr)
	}
	return addrs, ttl
}

// A keptName is a line of the file.
type keptName struct {
	Addresses []netip.Addr `json:"addresses"`
	Until     time.Time    `json:"until"`
}

// load reads the file. What is wrong with it is no error: the names are looked up.
func (b *bootstrap) load() {
	if b.file == "" {
		return
	}
	kept, err := readKept(b.file)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			b.client.log.Warn("the addresses of upstreams by name are looked up anew", "file", b.file, "error", err)
		}
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for host, k := range kept {
		addrs := slices.DeleteFunc(k.Addresses, func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() || a.IsMulticast() })
		if len(addrs) > 0 && len(addrs) <= 2*maxAddresses && len(b.names) < maxNames {
			b.names[host] = &serverName{addrs: addrs, until: k.Until}
		}
	}
}

func readKept(file string) (kept map[string]keptName, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNamesFile))
	if err != nil {
		return nil, err
	}
	return kept, json.Unmarshal(text, &kept)
}

// save writes the file, with the names of upstreams that there are now.
func (b *bootstrap) save() {
	if b.file == "" {
		return
	}
	b.client.mu.Lock() // an upstream that is being made may be asked about already, and is in force then
	used := b.client.hosts()
	b.client.mu.Unlock()
	kept := map[string]keptName{}
	b.mu.Lock()
	for host, n := range b.names {
		if len(n.addrs) > 0 && slices.Contains(used, host) && len(kept) < maxNames {
			kept[host] = keptName{n.addrs, n.until}
		}
	}
	b.mu.Unlock()
	text, err := json.MarshalIndent(kept, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(b.file), 0o700)
	}
	if err == nil {
		err = atomicfile.Write(b.file, append(text, '\n'), 0o600)
	}
	if err != nil {
		b.client.log.Warn("the addresses of upstreams by name are not kept over a restart", "file", b.file, "error", err)
	}
}

// hosts returns the names of all servers that have one.
func (u *Client) hosts() (all []string) {
	for _, set := range u.sets() {
		for _, m := range set.all {
			if m.server.Host != "" {
				all = append(all, m.server.Host)
			}
		}
	}
	return all
}
