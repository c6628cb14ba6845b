package overload

import (
	"encoding/binary"
	"math"
	"net/netip"

	"golang.org/x/net/bpf"
)

// Where a filter finds the sender's address: offsets in the network header are
// counted from SKF_NET_OFF (linux/filter.h).
const (
	filterNet = 0xfff0_0000 // -0x100000
	source4   = filterNet + 12
	source6   = filterNet + 8
)

// Filter returns a socket filter (socket(7), SO_ATTACH_FILTER; it needs no
// privilege) that lets the packets of limited clients through by chance, and all
// others. v6 says which of the limits are this socket's; prefix6 bits tell IPv6
// clients apart.
func Filter(limits []RateLimit, v6 bool, prefix6 int) ([]bpf.RawInstruction, error) {
	var program []bpf.Instruction
	for _, l := range limits {
		if l.Client.Is4() == v6 {
			continue
		}
		match := matchSource(l.Client, prefix6)
		most := uint32(l.Pass * math.MaxUint32)
		chance := []bpf.Instruction{
			bpf.LoadExtension{Num: bpf.ExtRand},
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: most, SkipTrue: 1},
			bpf.RetConstant{Val: math.MaxUint32},
			bpf.RetConstant{Val: 0},
		}
		for i, in := range match {
			if j, ok := in.(bpf.JumpIf); ok { // to the next client
				j.SkipTrue = uint8(len(match) - 1 - i + len(chance))
				match[i] = j
			}
		}
		program = append(append(program, match...), chance...)
	}
	return bpf.Assemble(append(program, bpf.RetConstant{Val: math.MaxUint32}))
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
