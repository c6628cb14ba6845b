package fleet

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"telltale/querylog"
)

// Bounds of a batch on its way.
const (
	UsualPacked   = 4 << 20   // octets of most batches
	usualUnpacked = 64 << 20  // what they may become
	MaxPacked     = 32 << 20  // octets of one
	maxUnpacked   = 160 << 20 // what it may become
)

// ErrTooLarge means that a batch is larger than one may be.
var ErrTooLarge = errors.New("the batch is too large")

var packers = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return w
}}

// Pack returns a batch as it travels.
func Pack(b *Batch) ([]byte, error) {
	var out bytes.Buffer
	w := packers.Get().(*gzip.Writer)
	defer packers.Put(w)
	w.Reset(&out)
	_, err := w.Write(b.Append(nil))
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

// Unpack reads a batch as it travels.
func Unpack(ctx context.Context, packed []byte) (*Batch, error) {
	return unpack(ctx, packed, maxUnpacked)
}

// unpack reads a batch that becomes so many octets at most.
func unpack(ctx context.Context, packed []byte, most int64) (*Batch, error) {
	if len(packed) > MaxPacked {
		return nil, ErrTooLarge
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("the batch is damaged: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("the batch is damaged: %w", err)
	}
	if int64(len(text)) > most {
		return nil, ErrTooLarge
	}
	return querylog.ParseBatch(ctx, text)
}
