package clickhouse

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// RowBinary has no types and no names of columns: both ends know them. So every
// insert names its columns, every select says of each column which type it is, and
// a table of another schema is not written to.

// A rowWriter appends values to rows in the form RowBinary.
type rowWriter struct{ b []byte }

func (w *rowWriter) text(s string) {
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *rowWriter) u8(v uint8)   { w.b = append(w.b, v) }
func (w *rowWriter) u16(v uint16) { w.b = binary.LittleEndian.AppendUint16(w.b, v) }
func (w *rowWriter) u32(v uint32) { w.b = binary.LittleEndian.AppendUint32(w.b, v) }
func (w *rowWriter) u64(v uint64) { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *rowWriter) i64(v int64)  { w.u64(uint64(v)) }

func (w *rowWriter) flag(v bool) {
	if v {
		w.u8(1)
	} else {
		w.u8(0)
	}
}

// A rowReader takes values from a result in the form RowBinary. After its first
// error it gives zero values.
type rowReader struct {
	r   *bufio.Reader
	err error
	buf []byte

	texts map[string]string // that were read lately, as most are in many rows
}

const (
	maxText    = 1 << 20 // octets that a text of a result may have
	knownTexts = 1 << 14
)

func newRowReader(r io.Reader) *rowReader {
	return &rowReader{r: bufio.NewReaderSize(r, 64<<10), texts: map[string]string{}}
}

// more reports whether there is a further row.
func (r *rowReader) more() bool {
	if r.err != nil {
		return false
	}
	_, err := r.r.Peek(1)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return err == nil
}

// take returns the next n octets, valid until the next call.
func (r *rowReader) take(n int) []byte {
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	b := r.buf[:n]
	if r.err != nil {
		clear(b)
		return b
	}
	if _, err := io.ReadFull(r.r, b); err != nil {
		clear(b)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		r.err = fmt.Errorf("the answer is cut off: %w", err)
	}
	return b
}

func (r *rowReader) u8() uint8   { return r.take(1)[0] }
func (r *rowReader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *rowReader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *rowReader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *rowReader) i64() int64  { return int64(r.u64()) }
func (r *rowReader) flag() bool  { return r.u8() != 0 }

func (r *rowReader) text() string {
	if r.err != nil {
		return ""
	}
	n, err := binary.ReadUvarint(r.r)
	if err != nil || n > maxText || n > math.MaxInt32 {
		if err == nil {
			err = fmt.Errorf("a text of %d octets", n)
		}
		r.err = fmt.Errorf("the answer is damaged: %w", err)
		return ""
	}
	b := r.take(int(n))
	if s, ok := r.texts[string(b)]; ok {
		return s
	}
	if len(r.texts) >= knownTexts {
		clear(r.texts)
	}
	s := string(b)
	r.texts[s] = s
	return s
}
