package fleet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"telltale/clock"
)

// A request is what a node asks its center, or sends it.
type request struct {
	method, url, path string // the URL without a path
	header            http.Header
	kind              string // of body
	body              []byte
	bandwidth         *Bandwidth
}

// answerMost is how much of an answer is read, in octets.
const answerMost = 64 << 10

// send sends it, and returns what is answered.
func (r *request) send(ctx context.Context, client *http.Client) (resp *http.Response, text []byte, err error) {
	var body io.Reader
	switch {
	case r.body == nil:
	case r.bandwidth == nil:
		body = bytes.NewReader(r.body)
	default:
		body = &slowReader{ctx: ctx, rest: r.body, bandwidth: r.bandwidth}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, strings.TrimSuffix(r.url, "/")+r.path, body)
	if err != nil {
		return nil, nil, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if r.body != nil {
		req.ContentLength = int64(len(r.body))
		req.Header.Set("Content-Type", r.kind)
	}
	if resp, err = client.Do(req); err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if text, err = io.ReadAll(io.LimitReader(resp.Body, answerMost)); err != nil {
		return nil, nil, fmt.Errorf("reading the center's answer: %w", err)
	}
	return resp, text, nil
}

// A Bandwidth bounds what is sent by all that share it. Nil bounds nothing. Any goroutine may use it.
type Bandwidth struct {
	rate int // octets a second

	mu   sync.Mutex
	next time.Time // when the next octet may be sent
}

// NewBandwidth returns one of so many octets a second; nil for 0.
func NewBandwidth(rate int) *Bandwidth {
	if rate <= 0 {
		return nil
	}
	return &Bandwidth{rate: rate}
}

// takes returns how long so many octets take.
func (b *Bandwidth) takes(octets int) time.Duration {
	if b == nil {
		return 0
	}
	return time.Duration(int64(octets) * int64(time.Second) / int64(b.rate))
}

// wait waits until so many octets may be sent. Who comes meanwhile waits until they are.
func (b *Bandwidth) wait(ctx context.Context, octets int) bool {
	b.mu.Lock()
	at := time.Now()
	if b.next.After(at) {
		at = b.next
	}
	b.next = at.Add(b.takes(octets))
	b.mu.Unlock()
	return clock.Sleep(ctx, time.Until(at))
}

// slowPart is what a reader takes at once, in octets, or less where that takes longer than an eighth of a second: others have their turn between.
const slowPart = 4 << 10

// A slowReader reads as the bandwidth allows.
type slowReader struct {
	ctx       context.Context
	rest      []byte
	bandwidth *Bandwidth
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(r.rest), slowPart, max(r.bandwidth.rate/8, 1))
	if !r.bandwidth.wait(r.ctx, n) {
		return 0, r.ctx.Err()
	}
	copy(p, r.rest[:n])
	r.rest = r.rest[n:]
	return n, nil
}
