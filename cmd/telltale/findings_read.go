package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"telltale/devices/corrections"
	"telltale/querylog"
	"telltale/sorting"
)

// How the facts are read that findings are made of.

// errUnmade means that a directory is not there yet.
var errUnmade = errors.New("it is not there yet")

// readClock asks the kernel whether its clock is synchronised.
func readClock() (c clockState) {
	c.synchronised, c.known = clockSynced()
	return c
}

// willBeMade says of a directory that is missing whether the server can make it.
func (d *doctor) willBeMade(what, key, dir string) {
	above := filepath.Dir(dir)
	info, err := os.Stat(above)
	for above != "/" && err != nil {
		above = filepath.Dir(above)
		info, err = os.Stat(above)
	}
	if err != nil || !info.IsDir() || unix.Access(above, unix.W_OK) != nil {
		d.finds(stateWarning, what+"-missing", "", fmt.Sprintf("%s (%s) is not there, and this user cannot make it", key, dir), "make it, or start the server as a user who can")
		return
	}
	d.says(what, "%s (%s) is made at the first start", key, dir)
}

// readStore looks at data.dir. Of a server that runs, it is the server that knows
// whether it can be written.
func (f *facts) readStore(running bool) {
	dir := f.cfg.Data.Dir
	_, f.correctionsErr = corrections.Read(correctionsPath(f.cfg))
	_, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.store.missing = true
		return
	case err == nil && !running:
		err = canWrite(dir)
	}
	f.store.err = err
	f.store.free, f.store.freeKnown = freeBytes(dir)
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			f.store.used += info.Size()
		}
	}
}

func canWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// A day is what the log has of the last day.
type day struct {
	read    time.Time         // when
	rows    int               // that were read
	oldest  time.Time         // row of the whole log; zero for none
	lookups uint64            // of others than this machine
	bare    uint64            // of them, those of bare addresses
	clients map[string]uint64 // lookups by the address that asked

	forwarded map[string]bool            // addresses that say whose queries they pass on, and are believed
	systems   map[string]map[string]bool // by the address that asked, the makers whose connectivity checks it asked for
	domains   map[string]*failing        // by what became of their lookups
	essential map[string]*blockedName    // essential names that were blocked
}

// A blockedName is a name that was blocked, and by which rule last: rows are added the newest first.
type blockedName struct {
	count uint64
	list  string
	line  int
}

// essentialNames are the names of essential, those blocked most often first.
func (y *day) essentialNames() []string {
	return mostFirst(y.essential, func(b *blockedName) uint64 { return b.count }, mostDomains)
}

const (
	dayRows     = 100_000     // of a day that are read: the newest
	dayIsLarge  = 5_000       // rows from which a day takes long to read
	dayHoldsFor = time.Minute // one that is large
)

// readDay reads the last day of the log.
func readDay(ctx context.Context, r *querylog.Reader, now time.Time) (*day, error) {
	y := &day{read: now, clients: map[string]uint64{}, forwarded: map[string]bool{}, systems: map[string]map[string]bool{}, domains: map[string]*failing{}, essential: map[string]*blockedName{}}
	listed, unlisted, err := r.OldestRows(ctx)
	if err != nil {
		return nil, err
	}
	if y.oldest = listed; y.oldest.IsZero() || !unlisted.IsZero() && unlisted.Before(listed) {
		y.oldest = unlisted
	}
	err = r.Newest(ctx, querylog.Filter{Since: now.Add(-24 * time.Hour)}, dayRows, func(row *querylog.Row) bool {
		y.rows++
		y.add(row)
		return true
	})
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(y.domains, func(_ string, f *failing) bool { return f.rebound+f.failed == 0 }) // nothing is found of these
	return y, nil
}

// A keptDay is the last day of a server's log. One goroutine reads it at once; who asks meanwhile, or within a minute,
// gets the same, unless it is quickly read.
type keptDay struct {
	turn chan struct{} // held by who reads, or looks at last
	last *day          // which never changes; nil for none
}

func newKeptDay() keptDay { return keptDay{turn: make(chan struct{}, 1)} }

// get returns the last day; with anew one that is read after the call. It ends when ctx ends, also while another reads.
func (k *keptDay) get(ctx context.Context, r *querylog.Reader, anew bool) (*day, error) {
	asked := time.Now()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if y := k.last; y != nil && (!y.read.Before(asked) || !anew && y.rows >= dayIsLarge && asked.Sub(y.read) < dayHoldsFor) {
		return y, nil
	}
	y, err := readDay(ctx, r, time.Now())
	k.last = y
	return y, err
}

// forget forgets what was read, also what is being read.
func (k *keptDay) forget() {
	k.turn <- struct{}{}
	k.last = nil
	<-k.turn
}

func (y *day) add(row *querylog.Row) {
	y.clients[row.Client] += row.Count
	switch row.BindingSource {
	case "bare-address":
		y.bare += row.Count
	case "forwarder":
		y.forwarded[row.Client] = true
	}
	if row.BindingSource != "this-host" {
		y.lookups += row.Count
	}
	if row.Purpose == "connectivity" && row.Vendor != "" && row.Attribution == "rule" {
		if y.systems[row.Client] == nil {
			y.systems[row.Client] = map[string]bool{}
		}
		y.systems[row.Client][row.Vendor] = true
	}
	if row.Name == "" {
		return
	}
	if row.Tier == "essential" && row.Verdict == "block" {
		b := y.essential[row.Name]
		if b == nil {
			b = &blockedName{list: row.List, line: row.Line}
			y.essential[row.Name] = b
		}
		b.count += row.Count
	}
	y.addFailing(row)
}

// inContainer reports whether this runs in a container with a network of its own, as far
// as the usual marks say: an interface is one end of a link to elsewhere.
func inContainer() bool {
	marked := slices.ContainsFunc([]string{"/.dockerenv", "/run/.containerenv"}, func(mark string) bool {
		_, err := os.Stat(mark)
		return err == nil
	})
	interfaces, err := net.Interfaces()
	if !marked || err != nil {
		return false
	}
	up := slices.DeleteFunc(interfaces, func(i net.Interface) bool {
		return i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || !hasAddress(i)
	})
	return len(up) > 0 && !slices.ContainsFunc(up, func(i net.Interface) bool {
		link, err := os.ReadFile(filepath.Join("/sys/class/net", i.Name, "iflink"))
		return err != nil || strings.TrimSpace(string(link)) == strconv.Itoa(i.Index)
	})
}

// ownAddresses are the addresses of this machine at which devices can ask it.
func ownAddresses() (all []netip.Addr) {
	for _, a := range everyOwnAddress() {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// mostReached bounds the addresses at which this server is asked.
const mostReached = 8

// reachAll asks this server over the addresses of this machine at which it should answer.
func reachAll(ctx context.Context, listens []netip.AddrPort, own []netip.Addr) (all []reached) {
	var at []netip.AddrPort
	for _, l := range listens {
		switch {
		case l.Addr().IsLoopback():
		case !l.Addr().IsUnspecified():
			at = append(at, l)
		default:
			for _, a := range own {
				if a.Is4() == l.Addr().Is4() && (a.IsPrivate() || isShared(a)) {
					at = append(at, netip.AddrPortFrom(a, l.Port()))
				}
			}
		}
	}
	sorting.By(at, netip.AddrPort.Compare)
	at = slices.Compact(at)
	all = make([]reached, min(len(at), mostReached))
	done := make(chan struct{})
	for i := range all {
		go func() {
			all[i] = reached{at[i], askHealth(ctx, at[i])}
			done <- struct{}{}
		}()
	}
	for range all {
		<-done
	}
	return all
}

// madeUpName returns a name that nobody has, below a zone that everybody knows.
func madeUpName() string {
	var random [12]byte
	rand.Read(random[:])
	return "telltale-" + hex.EncodeToString(random[:]) + ".com"
}

// bytesText writes a size for people: three digits and a unit.
func bytesText(n int64) string {
	size, unit := float64(n), 0
	for units := "KMGTPE"; size >= 1000 && unit < len(units); unit++ {
		size /= 1024
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.3g %ciB", size, "KMGTPE"[unit-1])
}
