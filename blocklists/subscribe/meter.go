package subscribe

import (
	"context"
	"fmt"
	"io"
	"time"
)

// metered reads a body, no more than it may be.
type metered struct {
	r        io.Reader
	left     int64
	read     int64
	total    int64
	moved    func()
	progress func(bytes, total int64)
	told     int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if n > 0 {
		m.moved()
	}
	m.read += int64(n)
	if m.left -= int64(n); m.left < 0 {
		return 0, fmt.Errorf("is longer than the limit of %d bytes", m.read+m.left)
	}
	if m.read-m.told >= 1<<20 || err == io.EOF {
		m.told = m.read
		m.progress(m.read, m.total)
	}
	return n, err
}

// A stall ends a download on which nothing moves.
type stall struct {
	ctx   context.Context
	timer *time.Timer
	wait  time.Duration
	end   context.CancelCauseFunc
}

func newStall(ctx context.Context, wait time.Duration) *stall {
	s := &stall{wait: wait}
	s.ctx, s.end = context.WithCancelCause(ctx)
	s.timer = time.AfterFunc(wait, func() { s.end(fmt.Errorf("nothing came for %v", wait)) })
	return s
}

func (s *stall) moved() { s.timer.Reset(s.wait) }

func (s *stall) stop() {
	s.timer.Stop()
	s.end(nil)
}
