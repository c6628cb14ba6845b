package resolver

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// backlog returns what waits at the socket; nothing where the kernel cannot say.
func (c *batchConn) backlog() backlog {
	m, err := socketMemory(c.fd)
	if err != nil {
		return backlog{room: math.MaxUint32}
	}
	return backlog{used: m[memoryQueued], room: m[memoryRoom], drops: m[memoryDrops]}
}

// setRoom sets how many octets may wait at the socket, as the kernel counts
// them. It gives what net.core.rmem_max allows.
func (c *batchConn) setRoom(octets int) {
	unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, min(octets/2, maxReceiveBuffer)) // doubled by the kernel; best effort
}

// patience bounds how long a receive waits for packets; 0 does not.
func (c *batchConn) patience(d time.Duration) {
	wait := unix.NsecToTimeval(d.Nanoseconds())
	unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait) // best effort
}

// thin makes the kernel drop packets of some clients before they are queued, by
// a socket filter (socket(7), SO_ATTACH_FILTER), which needs no privilege.
// clients are told apart by prefix6 bits of their IPv6 addresses.
func (c *batchConn) thin(clients []thinning, prefix6 int) {
	if len(clients) == 0 {
		unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) // ENOENT without one
		return
	}
	raw, err := bpf.Assemble(thinningFilter(clients, c.v6, prefix6))
	if err != nil {
		return
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	unix.SetsockoptSockFprog(c.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// Where a filter finds the sender's address: offsets in the network header are
// counted from SKF_NET_OFF (linux/filter.h).
const (
	filterNet = 0xfff0_0000 // -0x100000
	source4   = filterNet + 12
	source6   = filterNet + 8
)

// thinningFilter returns a program that lets the packets of clients through by
// chance, and all others.
func thinningFilter(clients []thinning, v6 bool, prefix6 int) []bpf.Instruction {
	var program []bpf.Instruction
	for _, t := range clients {
		if t.client.Is4() == v6 {
			continue
		}
		is := matchSource(t.client, prefix6)
		most := uint32(t.pass * math.MaxUint32)
		chance := []bpf.Instruction{
			bpf.LoadExtension{Num: bpf.ExtRand},
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: most, SkipTrue: 1},
			bpf.RetConstant{Val: math.MaxUint32},
			bpf.RetConstant{Val: 0},
		}
		for i, in := range is {
			if j, ok := in.(bpf.JumpIf); ok { // to the next client
				j.SkipTrue = uint8(len(is) - 1 - i + len(chance))
				is[i] = j
			}
		}
		program = append(append(program, is...), chance...)
	}
	return append(program, bpf.RetConstant{Val: math.MaxUint32})
}

// matchSource returns instructions that jump away from packets that are not of
// the client; where to is left to the caller.
func matchSource(client netip.Addr, prefix6 int) []bpf.Instruction {
	octets, at, bits := client.AsSlice(), uint32(source6), prefix6
	if client.Is4() {
		at, bits = source4, 32
	}
	var program []bpf.Instruction
	for i := 0; i*32 < bits; i++ {
		program = append(program, bpf.LoadAbsolute{Off: at + uint32(4*i), Size: 4})
		if rest := bits - 32*i; rest < 32 {
			program = append(program, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: math.MaxUint32 << (32 - rest)})
		}
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(octets[4*i:])})
	}
	return program
}
