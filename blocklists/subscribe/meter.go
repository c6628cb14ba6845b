package subscribe

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// metered reads a body, no more than it may be.
type metered struct {
	r        io.Reader
	left     int64
	read     int64
	total    int64
	moved    func(n int)
	progress func(bytes, total int64)
	reported int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if n > 0 {
		m.moved(n)
	}
	m.read += int64(n)
	if m.left -= int64(n); m.left < 0 {
		return 0, fmt.Errorf("is longer than the limit of %d bytes", m.read+m.left)
	}
	if m.read-m.reported >= 1<<20 || err == io.EOF {
		m.reported = m.read
		m.progress(m.read, m.total)
	}
	return n, err
}

// A stall ends a download on which too little moves: nothing in the first span of
// wait, or less than rate bytes a second in a later one.
type stall struct {
	ctx context.Context
	end context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	wait  time.Duration
	least int64 // bytes in each span
	came  int64 // in this span
	begun bool  // the first span is over, in which the server may take its time
}

func newStall(ctx context.Context, wait time.Duration, rate int64) *stall {
	s := &stall{wait: wait, least: max(1, rate*int64(wait)/int64(time.Second))}
	s.ctx, s.end = context.WithCancelCause(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(wait, s.check)
	return s
}

// check looks back at a span, and begins the next.
func (s *stall) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.came == 0:
		s.end(fmt.Errorf("nothing came for %v", s.wait))
	case s.begun && s.came < s.least:
		s.end(fmt.Errorf("only %d bytes came in %v, and %d are the least", s.came, s.wait, s.least))
	default:
		s.came, s.begun = 0, true
		s.timer.Reset(s.wait)
	}
}

// moved counts bytes that came.
func (s *stall) moved(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came += int64(n)
}

func (s *stall) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	s.end(nil)
}
