package peerlogs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"
)

// packetMost is how large a captured packet may be: no program captures more of one
// (MAXIMUM_SNAPLEN of libpcap).
const packetMost = 262144

// pcapOrder returns the order of octets of a pcap file by its beginning; nil where it is
// none.
func pcapOrder(head []byte) binary.ByteOrder {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if n := order.Uint32(head); n == pcapMicro || n == pcapNano {
			return order
		}
	}
	return nil
}

// Of pcap (draft-ietf-opsawg-pcap).
const (
	pcapMicro = 0xa1b2c3d4
	pcapNano  = 0xa1b23c4d
)

// A pcap reads a pcap file: a head, then a head and the data of each packet.
type pcap struct {
	f     *file
	order binary.ByteOrder
	nano  bool
	link  uint32
	n     int64 // packets read
	buf   []byte
}

func newPcap(f *file) (*pcap, error) {
	var head [24]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return nil, errors.New("the capture has no packet")
	}
	order := pcapOrder(head[:])
	if major := order.Uint16(head[4:]); major != 2 {
		return nil, fmt.Errorf("the capture is of version %d of pcap, and 2 is read here", major)
	}
	return &pcap{f: f, order: order, nano: order.Uint32(head[:]) == pcapNano, link: order.Uint32(head[20:]) & 0xffff}, nil // above are bits about check sums
}

func (p *pcap) next() (packet, error) {
	var head [16]byte
	if err := readAll(p.f.r, head[:], true); err != nil {
		return packet{}, err
	}
	size := p.order.Uint32(head[8:])
	if size > packetMost {
		return packet{}, fmt.Errorf("behind packet %d: a packet of %d octets: the file is damaged", p.n, size)
	}
	p.buf = grown(p.buf, int(size))
	if err := readAll(p.f.r, p.buf, false); err != nil {
		return packet{}, err
	}
	p.n++
	part := int64(p.order.Uint32(head[4:]))
	if !p.nano {
		part *= 1000
	}
	return packet{time: time.Unix(int64(p.order.Uint32(head[0:])), part), link: p.link, data: p.buf, all: originalSize(p.order.Uint32(head[12:]), p.buf)}, nil
}

// originalSize is how many octets a packet had, which is not less than what is there of it.
func originalSize(n uint32, data []byte) int {
	return max(int(min(n, 1<<30)), len(data))
}

// grown returns a buffer of a size, b if that is large enough.
func grown(b []byte, size int) []byte {
	if cap(b) < size {
		return make([]byte, size, max(size, 2048))
	}
	return b[:size]
}

// readAll fills b. At the end of the file it is io.EOF where a packet may end, else errCut.
func readAll(r io.Reader, b []byte, mayEnd bool) error {
	switch _, err := io.ReadFull(r, b); {
	case err == io.EOF && mayEnd:
		return io.EOF
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return errCut
	default:
		return err
	}
}

// Of pcapng (draft-ietf-opsawg-pcapng): the types of the blocks that are read.
const (
	pcapngSection   = 0x0a0d0d0a
	pcapngMagic     = 0x1a2b3c4d
	pcapngInterface = 1
	pcapngOldPacket = 2
	pcapngSimple    = 3
	pcapngPacket    = 6

	blockMost      = packetMost + 64<<10 // a packet and its options
	interfacesMost = 4096
)

// A pcapng reads a pcapng file: sections of blocks, each with its own order of octets and
// interfaces.
type pcapng struct {
	f          *file
	order      binary.ByteOrder
	interfaces []captureInterface
	n          int64 // packets read
	buf        []byte
}

// A captureInterface is one of which packets were captured.
type captureInterface struct {
	link    uint32
	snaplen uint32
	units   uint64 // in a second; 0 where they cannot be counted
	offset  int64  // seconds
}

func (p *pcapng) next() (packet, error) {
	for {
		kind, body, err := p.block()
		if err != nil {
			return packet{}, err
		}
		switch kind {
		case pcapngInterface:
			if err := p.addInterface(body); err != nil {
				return packet{}, p.damaged(err)
			}
		case pcapngPacket, pcapngOldPacket, pcapngSimple:
			p.n++
			return p.packet(kind, body)
		}
	}
}

func (p *pcapng) damaged(err error) error {
	return fmt.Errorf("behind packet %d: %w: the file is damaged", p.n, err)
}

// block returns the next block; without its body where that is not looked at.
func (p *pcapng) block() (kind uint32, body []byte, err error) {
	var head [8]byte
	if err := readAll(p.f.r, head[:], true); err != nil {
		return 0, nil, err
	}
	if binary.BigEndian.Uint32(head[:]) == pcapngSection {
		return pcapngSection, nil, p.section(head[4:])
	}
	if p.order == nil {
		return 0, nil, p.damaged(errors.New("a block before the first section"))
	}
	kind = p.order.Uint32(head[:])
	size := p.order.Uint32(head[4:])
	if size < 12 || size%4 != 0 {
		return 0, nil, p.damaged(fmt.Errorf("a block of %d octets", size))
	}
	switch kind {
	case pcapngInterface, pcapngPacket, pcapngOldPacket, pcapngSimple:
		if size > blockMost {
			return 0, nil, p.damaged(fmt.Errorf("a block of %d octets", size))
		}
		p.buf = grown(p.buf, int(size)-12)
		if err := readAll(p.f.r, p.buf, false); err != nil {
			return 0, nil, err
		}
	default:
		if err := p.skip(int64(size) - 12); err != nil {
			return 0, nil, err
		}
	}
	return kind, p.buf, p.end(size)
}

// section begins a section, of whose head the length is read.
func (p *pcapng) section(length []byte) error {
	var magic [4]byte
	if err := readAll(p.f.r, magic[:], false); err != nil {
		return err
	}
	switch uint32(pcapngMagic) {
	case binary.LittleEndian.Uint32(magic[:]):
		p.order = binary.LittleEndian
	case binary.BigEndian.Uint32(magic[:]):
		p.order = binary.BigEndian
	default:
		return p.damaged(errors.New("a section without an order of octets"))
	}
	size := p.order.Uint32(length)
	if size < 28 || size%4 != 0 {
		return p.damaged(fmt.Errorf("the head of a section of %d octets", size))
	}
	var version [4]byte
	if err := readAll(p.f.r, version[:], false); err != nil {
		return err
	}
	if major := p.order.Uint16(version[:]); major != 1 {
		return fmt.Errorf("the capture is of version %d of pcapng, and 1 is read here", major)
	}
	p.interfaces = nil
	if err := p.skip(int64(size) - 20); err != nil {
		return err
	}
	return p.end(size)
}

// skip leaves out so many octets, without holding them.
func (p *pcapng) skip(n int64) error {
	if _, err := io.CopyN(io.Discard, p.f.r, n); err == io.EOF {
		return errCut
	} else {
		return err
	}
}

// end reads the end of a block, which has its length again.
func (p *pcapng) end(size uint32) error {
	var again [4]byte
	if err := readAll(p.f.r, again[:], false); err != nil {
		return err
	}
	if got := p.order.Uint32(again[:]); got != size {
		return p.damaged(fmt.Errorf("a block of %d octets that ends as one of %d", size, got))
	}
	return nil
}

// Options of an interface.
const (
	optionEnd        = 0
	optionResolution = 9
	optionOffset     = 14
)

func (p *pcapng) addInterface(b []byte) error {
	if len(b) < 8 || len(p.interfaces) == interfacesMost {
		return errors.New("an interface that is none, or one too many")
	}
	i := captureInterface{link: uint32(p.order.Uint16(b)), snaplen: p.order.Uint32(b[4:]), units: 1e6}
	for b = b[8:]; len(b) >= 4; {
		code, size := p.order.Uint16(b), int(p.order.Uint16(b[2:]))
		b = b[4:]
		if code == optionEnd {
			break
		}
		if size > len(b) {
			return errors.New("an option of an interface that is longer than its block")
		}
		switch {
		case code == optionResolution && size == 1:
			i.units = unitsOf(b[0])
		case code == optionOffset && size == 8:
			i.offset = int64(p.order.Uint64(b))
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	p.interfaces = append(p.interfaces, i)
	return nil
}

// unitsOf returns how many units of time a second has: a power of ten, or of two where the
// first bit is set; 0 where there are more than can be counted.
func unitsOf(b byte) uint64 {
	n := int(b & 0x7f)
	if b&0x80 != 0 {
		if n > 63 {
			return 0
		}
		return 1 << n
	}
	if n > 19 {
		return 0
	}
	units := uint64(1)
	for range n {
		units *= 10
	}
	return units
}

// packet returns the packet of a block.
func (p *pcapng) packet(kind uint32, b []byte) (packet, error) {
	bad := func(text string) (packet, error) { return packet{}, &BadRecord{Err: errors.New(text)} }
	if kind == pcapngSimple {
		return bad("it has no time (a simple packet block of pcapng)")
	}
	if len(b) < 20 {
		return bad("its block is too short")
	}
	number := int(p.order.Uint16(b))
	if kind == pcapngPacket {
		number = int(min(p.order.Uint32(b), interfacesMost))
	}
	size := p.order.Uint32(b[12:])
	switch {
	case number >= len(p.interfaces):
		return bad("it is of an interface that the file does not have")
	case int64(size) > int64(len(b)-20):
		return bad("it is longer than its block")
	}
	i := &p.interfaces[number]
	data := b[20 : 20+size]
	at := i.time(uint64(p.order.Uint32(b[4:]))<<32 | uint64(p.order.Uint32(b[8:])))
	return packet{time: at, link: i.link, data: data, all: originalSize(p.order.Uint32(b[16:]), data)}, nil
}

// time returns the time of so many units since 1970; zero where they cannot be counted.
func (i *captureInterface) time(n uint64) time.Time {
	if i.units == 0 {
		return time.Time{}
	}
	const most = 1 << 40 // seconds: far from where times overflow, and no time of a packet
	seconds := int64(min(n/i.units, most)) + min(max(i.offset, -most), most)
	high, low := bits.Mul64(n%i.units, 1e9)
	part, _ := bits.Div64(high, low, i.units)
	return time.Unix(seconds, int64(part))
}
