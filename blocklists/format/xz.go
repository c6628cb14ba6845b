package format

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// The xz library allocates whatever dictionary a file asks for, up to 4 GiB and
// in each of its blocks. A list comes from strangers, so the container (xz file
// format 1.2.0) is read here, and only its LZMA2 data by the library.

const maxXZDictionary = 64 << 20 // what xz -9 asks for

var errXZ = errors.New("not a sound xz file")

// An xzReader reads the streams of an xz file one after another.
type xzReader struct {
	in    *bufio.Reader
	n     int64 // bytes read from in, for padding to multiples of four
	block io.Reader
	start int64 // of the block's compressed data
	sum   hash.Hash
	size  int // of the check behind each block
	err   error
}

func newXZReader(b *bufio.Reader) (*xzReader, error) {
	x := &xzReader{in: b}
	return x, x.stream()
}

// Read reads what the blocks of all streams unpack to.
func (x *xzReader) Read(p []byte) (int, error) {
	for x.err == nil {
		if x.block == nil {
			x.err = x.next()
			continue
		}
		n, err := x.block.Read(p)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		if err == io.EOF {
			err = x.endBlock()
		}
		x.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, x.err
}

// ReadByte and read count what they take, as the padding depends on it.
func (x *xzReader) ReadByte() (byte, error) {
	c, err := x.in.ReadByte()
	if err == nil {
		x.n++
	} else if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return c, err
}

func (x *xzReader) read(p []byte) error {
	n, err := io.ReadFull(x.in, p)
	x.n += int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// stream reads a stream's header (2.1.1).
func (x *xzReader) stream() error {
	var h [12]byte
	if err := x.read(h[:]); err != nil {
		return err
	}
	if string(h[:7]) != "\xfd7zXZ\x00\x00" || crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) {
		return errXZ
	}
	x.sum = nil
	switch h[7] {
	case 0:
		x.size = 0
	case 1:
		x.size, x.sum = 4, crc32.NewIEEE()
	case 4:
		x.size, x.sum = 8, crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		x.size = 32 // SHA-256, skipped: what is wrong shows in the text
	default:
		return errXZ
	}
	return nil
}

// next begins the next block, or ends the stream at its index.
func (x *xzReader) next() error {
	size, err := x.ReadByte()
	if err != nil {
		return err
	}
	if size == 0 {
		return x.endStream()
	}
	h := make([]byte, 4*(int(size)+1)) // 3.1.1
	h[0] = size
	if err := x.read(h[1:]); err != nil {
		return err
	}
	body, sum := h[:len(h)-4], h[len(h)-4:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return errXZ
	}
	dictionary, err := blockDictionary(body)
	if err != nil {
		return err
	}
	x.start = x.n
	if x.sum != nil {
		x.sum.Reset()
	}
	x.block, err = lzma.Reader2Config{DictCap: dictionary}.NewReader2(countingReader{x})
	return err
}

// blockDictionary returns the size of the dictionary a block asks for.
func blockDictionary(h []byte) (int, error) {
	flags, rest := h[1], h[2:]
	sizes := 0
	if flags&0x40 != 0 {
		sizes++
	}
	if flags&0x80 != 0 {
		sizes++
	}
	for range sizes {
		_, n := binary.Uvarint(rest)
		if n <= 0 {
			return 0, errXZ
		}
		rest = rest[n:]
	}
	if flags&0x3f != 0 || len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 {
		return 0, fmt.Errorf("%w: it uses a filter other than LZMA2", errXZ)
	}
	dictionary, err := lzma.DecodeDictCap(rest[2])
	if err != nil || dictionary > maxXZDictionary {
		return 0, fmt.Errorf("%w: it asks for a dictionary of over %d MiB", errXZ, maxXZDictionary>>20)
	}
	return max(int(dictionary), lzma.MinDictCap), nil
}

// endBlock reads the padding and the check behind a block.
func (x *xzReader) endBlock() error {
	x.block = nil
	if err := x.pad(x.start); err != nil {
		return err
	}
	check := make([]byte, x.size)
	if err := x.read(check); err != nil {
		return err
	}
	if x.sum == nil {
		return nil
	}
	sum := x.sum.Sum(nil) // big-endian, the file's is little-endian
	for i, c := range check {
		if c != sum[len(sum)-1-i] {
			return errXZ
		}
	}
	return nil
}

// endStream skips the index and the footer, and begins the next stream.
func (x *xzReader) endStream() error {
	start := x.n - 1
	records, err := binary.ReadUvarint(x)
	if err != nil {
		return err
	}
	for range 2 * records {
		if _, err := binary.ReadUvarint(x); err != nil {
			return err
		}
	}
	if err := x.pad(start); err != nil {
		return err
	}
	var footer [16]byte // with the index's check before it
	if err := x.read(footer[:]); err != nil {
		return err
	}
	if string(footer[14:]) != "YZ" {
		return errXZ
	}
	for {
		zeros, err := x.in.Peek(4)
		switch {
		case len(zeros) == 0:
			return io.EOF
		case err != nil:
			return io.ErrUnexpectedEOF
		case string(zeros) != "\x00\x00\x00\x00":
			return x.stream()
		}
		x.in.Discard(4)
	}
}

// pad skips zeros up to a multiple of four behind start.
func (x *xzReader) pad(start int64) error {
	for (x.n-start)%4 != 0 {
		if c, err := x.ReadByte(); err != nil || c != 0 {
			return errors.Join(err, errXZ)
		}
	}
	return nil
}

// countingReader gives the library the compressed bytes.
type countingReader struct{ x *xzReader }

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.x.in.Read(p)
	c.x.n += int64(n)
	return n, err
}

func (c countingReader) ReadByte() (byte, error) { return c.x.ReadByte() }
