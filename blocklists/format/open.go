package format

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"golang.org/x/text/encoding/unicode"
)

// MaxExpanded is how many bytes Open gives out of a compressed list: ten times
// the largest list known.
const MaxExpanded = 1 << 30

// ErrExpanded means that a compressed list is larger than it may be.
var ErrExpanded = errors.New("the list expands to too many bytes: use a smaller one")

// Open returns the text of a list, however it is packed: gzip, xz and zip (the
// first file in it) are known by their first bytes, UTF-16 by its byte order
// mark. Anything else is returned as it is. What it unpacks ends with
// ErrExpanded after MaxExpanded bytes, and with io.ErrUnexpectedEOF where the
// file was cut short. It reads r as a stream and never seeks.
func Open(r io.Reader) (io.Reader, error) { return OpenLimit(r, MaxExpanded) }

// OpenLimit is Open with another bound, in bytes.
func OpenLimit(r io.Reader, most int64) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	var unpacked io.Reader
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		unpacked, err = gzip.NewReader(b)
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		unpacked, err = newXZReader(b)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		unpacked, err = openZip(b)
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Reader(b), nil
	default:
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the list cannot be unpacked: %w", err)
	}
	return &expanding{r: unpacked, left: most}, nil
}

// exactly reads so many bytes, and no fewer.
type exactly struct {
	r    io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	if e.left -= int64(n); err == io.EOF && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// expanding ends a bomb.
type expanding struct {
	r    io.Reader
	left int64
}

func (e *expanding) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if e.left -= int64(n); e.left < 0 {
		return 0, ErrExpanded
	}
	return n, err
}

// openZip reads the first file of an archive from its local header (APPNOTE
// 4.3.7), so that a download need not be kept to be unpacked.
func openZip(b *bufio.Reader) (io.Reader, error) {
	var h [30]byte
	if _, err := io.ReadFull(b, h[:]); err != nil {
		return nil, err
	}
	le16 := func(at int) int { return int(h[at]) | int(h[at+1])<<8 }
	flags, method := le16(6), le16(8)
	size := int64(le16(18)) | int64(le16(20))<<16
	name := make([]byte, le16(26))
	if _, err := io.ReadFull(b, name); err != nil {
		return nil, err
	}
	if _, err := b.Discard(le16(28)); err != nil {
		return nil, err
	}
	const encrypted, sizeFollows = 1, 1 << 3
	switch {
	case flags&encrypted != 0:
		return nil, errors.New("the zip file is encrypted")
	case bytes.HasSuffix(name, []byte("/")):
		return nil, errors.New("the zip file begins with a folder: only its first file is read")
	case method == 8:
		return flate.NewReader(b), nil
	case method == 0 && flags&sizeFollows == 0:
		return &exactly{b, size}, nil
	}
	return nil, fmt.Errorf("the zip file uses method %d: only stored and deflated files are read", method)
}
