package packets

// This file holds the package's only unsafe code. recvmmsg and sendmmsg take
// arrays of structures that point to each other, for which x/sys has no
// wrapper; x/net's allocates for each packet. All memory is made once, reachable
// from one value and never moved: Go's collector does not move heap
// objects, and runtime.KeepAlive holds it over each call.

import (
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A mmsghdr is the kernel's struct mmsghdr; Go pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

const controlSize = 64 // an in6_pktinfo with its header, and room

// A Receiver is the buffers of one socket's batches. It belongs to the goroutine
// that reads the socket.
type Receiver struct {
	in, out   [BatchSize]mmsghdr
	inv, outv [BatchSize]unix.Iovec
	names     [BatchSize]unix.RawSockaddrInet6 // of clients; an RawSockaddrInet4 fits in it
	control   [BatchSize][controlSize]byte
	packets   [BatchSize][MaxSize]byte
	zones     map[uint32]string // interface index as a zone
	v6        bool
}

// NewReceiver returns buffers for a socket. Of a wildcard socket each packet says to
// which address it came.
func NewReceiver(v6, wildcard bool) *Receiver {
	m := &Receiver{v6: v6, zones: map[uint32]string{}}
	for i := range m.in {
		m.inv[i].Base = &m.packets[i][0]
		m.inv[i].SetLen(MaxSize)
		h := &m.in[i].hdr
		h.Name, h.Iov = (*byte)(unsafe.Pointer(&m.names[i])), &m.inv[i]
		h.SetIovlen(1)
		if wildcard {
			h.Control = &m.control[i][0]
		}
	}
	return m
}

// Receive waits for packets and returns how many came. It tries first without
// telling the scheduler: that is cheaper while there is load, and looking in vain
// costs less than it saves (dnsperf, cached: 10 % more per CPU-second). When
// nothing is there, it blocks in a way that lets others have the processor.
func (m *Receiver) Receive(fd int) (int, error) {
	m.prepare()
	first := uintptr(unsafe.Pointer(&m.in[0]))
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), first, BatchSize, unix.MSG_DONTWAIT, 0, 0)
	if errno == unix.EAGAIN {
		n, _, errno = syscall.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), first, BatchSize, unix.MSG_WAITFORONE, 0, 0)
	}
	runtime.KeepAlive(m)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// ReceiveNow returns how many packets there are, without waiting for any.
func (m *Receiver) ReceiveNow(fd int) (int, error) {
	m.prepare()
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.in[0])), BatchSize, unix.MSG_DONTWAIT, 0, 0)
	runtime.KeepAlive(m)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (m *Receiver) prepare() {
	for i := range m.in {
		h := &m.in[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		if h.Control != nil {
			h.SetControllen(controlSize)
		}
	}
}

// Beginning returns what was received of the i-th packet, whether it was cut short
// or not.
func (m *Receiver) Beginning(i int) []byte { return m.packets[i][:min(int(m.in[i].n), MaxSize)] }

// Packet returns the i-th packet and its sender. A packet that was cut short, to
// which nobody could reply, or that woke us without being one, is not ok.
func (m *Receiver) Packet(i int) (packet []byte, from netip.AddrPort, ok bool) {
	h, name := &m.in[i], &m.names[i]
	port := (*[2]byte)(unsafe.Pointer(&name.Port))
	if !m.v6 {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		from = netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(port[0])<<8|uint16(port[1]))
	} else {
		a := netip.AddrFrom16(name.Addr)
		if a.IsLinkLocalUnicast() {
			a = a.WithZone(m.zone(name.Scope_id))
		}
		from = netip.AddrPortFrom(a, uint16(port[0])<<8|uint16(port[1]))
	}
	if h.hdr.Flags&unix.MSG_TRUNC != 0 || h.n == 0 || from.Port() == 0 {
		return nil, from, false
	}
	return m.packets[i][:h.n], from, true
}

// zone returns an interface index as text, without allocating each time.
func (m *Receiver) zone(index uint32) string {
	z, ok := m.zones[index]
	if !ok {
		z = strconv.FormatUint(uint64(index), 10)
		m.zones[index] = z
	}
	return z
}

// Local returns the address the i-th packet came to, and the interface.
func (m *Receiver) Local(i int) (addr netip.Addr, ifindex uint32) {
	if m.in[i].hdr.Controllen < unix.SizeofCmsghdr {
		return addr, 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&m.control[i]))
	data := unsafe.Pointer(&m.control[i][unix.CmsgLen(0)])
	switch {
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO:
		info := (*unix.Inet4Pktinfo)(data)
		return netip.AddrFrom4(info.Spec_dst), uint32(info.Ifindex)
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO:
		info := (*unix.Inet6Pktinfo)(data)
		return netip.AddrFrom16(info.Addr), info.Ifindex
	}
	return addr, 0
}

// SendReplies sends replies to packets of the last batch, each to whom and from
// where its packet came, in as few system calls as the kernel allows. It returns how
// many the kernel took, and whether it had no room for more.
func (m *Receiver) SendReplies(fd int, replies []Reply, wildcard bool) (sent int, full bool) {
	for k := range replies {
		i, data := replies[k].Slot, replies[k].Data
		m.outv[k].Base = &data[0]
		m.outv[k].SetLen(len(data))
		h := &m.out[k].hdr
		*h = unix.Msghdr{Name: m.in[i].hdr.Name, Namelen: m.in[i].hdr.Namelen, Iov: &m.outv[k]}
		h.SetIovlen(1)
		if wildcard {
			h.Control = &m.control[i][0]
			h.SetControllen(int(m.in[i].hdr.Controllen))
			m.clearInterface(i)
		}
	}
	sent, full = sendHeaders(fd, m.out[:len(replies)])
	runtime.KeepAlive(m)
	runtime.KeepAlive(replies)
	return sent, full
}

// clearInterface clears the interface in the i-th control message, so that routing
// chooses the way out; a link-local address needs it.
func (m *Receiver) clearInterface(i int) {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&m.control[i]))
	data := unsafe.Pointer(&m.control[i][unix.CmsgLen(0)])
	if h.Level == unix.IPPROTO_IP {
		(*unix.Inet4Pktinfo)(data).Ifindex = 0
	} else if info := (*unix.Inet6Pktinfo)(data); !netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
		info.Ifindex = 0
	}
}

// sendHeaders sends messages in as few system calls as the kernel allows. It returns
// how many the kernel took, and whether it had no room for more: it never waits, as a
// reader that did would answer nobody. It may change their order.
func sendHeaders(fd int, out []mmsghdr) (sent int, full bool) {
	for total := len(out); sent < total; {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&out[sent])),
			uintptr(total-sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return sent, true
		default:
			// The first reply could not be sent (its client is unreachable, say);
			// the others may.
			full = full || errno == unix.ENOBUFS
			total--
			copy(out[sent:total], out[sent+1:])
		}
	}
	return sent, full
}

// What SocketMemory returns (linux/sock_diag.h, SK_MEMINFO_*).
const (
	MemoryQueued        = 0 // octets received and not read
	MemoryReceiveBuffer = 1 // octets that may be
	MemoryDrops         = 8 // packets that were dropped
)

// SocketMemory returns what the kernel keeps for a socket (SO_MEMINFO, Linux 4.12).
func SocketMemory(fd int) (m [9]uint32, err error) {
	size := uint32(unsafe.Sizeof(m))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return m, errno
	}
	return m, nil
}

// A Sender is messages to be sent together, each with where it goes. Data lies
// with whoever added it until Flush returns.
type Sender struct {
	n       int
	headers [BatchSize]mmsghdr
	data    [BatchSize]unix.Iovec
	names   [BatchSize]unix.RawSockaddrInet6 // an RawSockaddrInet4 fits in it
	control [BatchSize][controlSize]byte
}

// Add adds a message on a connected socket. There must be room: Len() < BatchSize.
func (o *Sender) Add(data []byte) *unix.Msghdr {
	i := o.n
	o.n++
	o.data[i].Base = &data[0]
	o.data[i].SetLen(len(data))
	h := &o.headers[i].hdr
	*h = unix.Msghdr{Iov: &o.data[i]}
	h.SetIovlen(1)
	return h
}

// AddTo adds a message to a client, from the address its packet came to. It
// returns false where the client's zone is none.
func (o *Sender) AddTo(data []byte, path *Path, wildcard bool) bool {
	i := o.n
	name := &o.names[i]
	addr := path.Client.Addr()
	size := unix.SizeofSockaddrInet6
	if addr.Is4() {
		size = unix.SizeofSockaddrInet4
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		*v4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: addr.As4()}
	} else {
		*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr.As16()}
		if zone := addr.Zone(); zone != "" {
			index, err := strconv.ParseUint(zone, 10, 32) // as Packet made it
			if err != nil {
				return false
			}
			name.Scope_id = uint32(index)
		}
	}
	port := (*[2]byte)(unsafe.Pointer(&name.Port)) // at the same place in both
	port[0], port[1] = byte(path.Client.Port()>>8), byte(path.Client.Port())
	h := o.Add(data)
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(name)), uint32(size)
	if wildcard && path.Local.IsValid() {
		h.Control = &o.control[i][0]
		h.SetControllen(o.source(i, path))
	}
	return true
}

// source writes the control message that names the address a packet came to, and
// returns its size.
func (o *Sender) source(i int, path *Path) int {
	head := (*unix.Cmsghdr)(unsafe.Pointer(&o.control[i]))
	data := unsafe.Pointer(&o.control[i][unix.CmsgLen(0)])
	if path.Local.Is4() {
		head.Level, head.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		head.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		*(*unix.Inet4Pktinfo)(data) = unix.Inet4Pktinfo{Spec_dst: path.Local.As4()}
		return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	}
	head.Level, head.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	head.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	info := unix.Inet6Pktinfo{Addr: path.Local.As16()}
	if path.Local.IsLinkLocalUnicast() {
		info.Ifindex = path.Interface
	}
	*(*unix.Inet6Pktinfo)(data) = info
	return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
}

// Len returns how many messages wait to be sent.
func (o *Sender) Len() int { return o.n }

// Flush sends all. It returns how many the kernel took, and whether it had no room
// for more.
func (o *Sender) Flush(fd int) (sent int, full bool) {
	sent, full = sendHeaders(fd, o.headers[:o.n])
	runtime.KeepAlive(o)
	o.n = 0
	return sent, full
}
