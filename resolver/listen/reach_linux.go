package listen

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A reply to an address of this network that nobody has waits in the socket's send
// buffer until the kernel has asked for its neighbour in vain, three seconds. Queries
// from made-up addresses fill the buffer so, and nobody gets an answer any more. Who
// really asks is known to the kernel as a neighbour, since it has asked for ours. So
// while there was no room lately, an address that is on the link, and no neighbour, gets
// a reply only now and then.
const (
	reachFor     = 10 * time.Second       // after there was no room, or a reply was held back
	reachRefresh = 100 * time.Millisecond // of the neighbours, while that is so
	reachTrickle = 3                      // replies to strangers, for each refresh
)

// A reachability knows who can be replied to, while that matters. Any goroutine may
// use it.
type reachability struct {
	until      atomic.Int64 // Unix nanoseconds; it is active until then
	neighbours atomic.Pointer[neighbours]

	mu      sync.Mutex
	running bool
	closed  context.Context
	end     context.CancelFunc
	task    sync.WaitGroup
}

// neighbours are who the kernel knows at one time.
type neighbours struct {
	known  map[netip.Addr]struct{}
	onLink []netip.Prefix
	left   atomic.Int32 // replies to strangers
}

func newReachability() *reachability {
	r := &reachability{}
	r.closed, r.end = context.WithCancel(context.Background())
	return r
}

// isActive reports whether there was no room for replies lately.
func (r *reachability) isActive() bool { return r.until.Load() > 0 }

// sendBufferFull takes in that the kernel had no room for a reply.
func (r *reachability) sendBufferFull() {
	r.until.Store(time.Now().Add(reachFor).UnixNano())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running || r.closed.Err() != nil {
		return
	}
	r.running = true
	r.task.Go(r.watch)
}

// close ends what sendBufferFull has begun.
func (r *reachability) close() {
	r.mu.Lock()
	r.end()
	r.mu.Unlock()
	r.task.Wait()
}

// watch reads the neighbours again and again, until there was room for long.
func (r *reachability) watch() {
	for {
		if n, err := readNeighbours(); err == nil {
			n.left.Store(reachTrickle)
			r.neighbours.Store(n)
		}
		select {
		case <-time.After(reachRefresh):
		case <-r.closed.Done():
		}
		r.mu.Lock()
		if over := time.Now().UnixNano() >= r.until.Load(); over || r.closed.Err() != nil {
			r.until.Store(0)
			r.neighbours.Store(nil)
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
	}
}

// mayReply reports whether a reply to addr is to be sent.
func (r *reachability) mayReply(addr netip.Addr) bool {
	n := r.neighbours.Load()
	if n == nil || n.mayReply(addr.WithZone("")) {
		return true
	}
	r.until.Store(time.Now().Add(reachFor).UnixNano()) // it goes on
	return false
}

func (n *neighbours) mayReply(addr netip.Addr) bool {
	if _, ok := n.known[addr]; ok || !n.isOnLink(addr) {
		return true
	}
	return n.left.Load() > 0 && n.left.Add(-1) >= 0
}

func (n *neighbours) isOnLink(addr netip.Addr) bool {
	for _, p := range n.onLink {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// readNeighbours asks the kernel.
func readNeighbours() (*neighbours, error) {
	n := &neighbours{known: map[netip.Addr]struct{}{}}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			n.known[p.Addr().WithZone("")] = struct{}{} // this machine itself
			if !p.Addr().IsLoopback() {
				n.onLink = append(n.onLink, p.Masked())
			}
		}
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		table, err := syscall.NetlinkRIB(unix.RTM_GETNEIGH, family)
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(table)
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			if addr, ok := neighbourOf(&m); ok {
				n.known[addr] = struct{}{}
			}
		}
	}
	return n, nil
}

// neighbourOf returns the address of an entry of the kernel's table that is one: a
// struct ndmsg (rtnetlink(7)) and its attributes.
func neighbourOf(m *syscall.NetlinkMessage) (addr netip.Addr, ok bool) {
	if m.Header.Type != unix.RTM_NEWNEIGH || len(m.Data) < unix.SizeofNdMsg {
		return addr, false
	}
	state := binary.NativeEndian.Uint16(m.Data[8:])
	if state == unix.NUD_NONE || state&(unix.NUD_INCOMPLETE|unix.NUD_FAILED) != 0 {
		return addr, false
	}
	for rest := m.Data[unix.SizeofNdMsg:]; len(rest) >= unix.SizeofRtAttr; {
		size, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
		if size < unix.SizeofRtAttr || size > len(rest) {
			break
		}
		if kind == unix.NDA_DST {
			addr, ok = netip.AddrFromSlice(rest[unix.SizeofRtAttr:size])
			return addr.Unmap(), ok
		}
		rest = rest[min((size+3)&^3, len(rest)):]
	}
	return addr, false
}
