package subscribe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"telltale/atomicfile"
)

// An update is what a server sent.
type update struct {
	file     *os.File // nil where the server's copy is ours, or the held one
	held     bool     // it is the held one
	etag     string
	modified string
	reading  reading
}

// errStatus is an answer other than 200 or 304.
type errStatus struct {
	status string
	retry  time.Duration // what Retry-After asks for; 0 for nothing
}

func (e *errStatus) Error() string { return "the server says " + e.status }

// refresh fetches one list, judges what came, and puts it in place or not.
func (s *Subscriber) refresh(ctx context.Context, e *entry, tell func(Progress)) {
	select {
	case e.fetching <- struct{}{}:
	case <-ctx.Done():
		s.release(e)
		return
	}
	defer func() { <-e.fetching }()
	defer s.release(e)

	s.mu.Lock()
	s.verifyLocked(e)
	l, k := e.list, e.known
	s.mu.Unlock()
	p := Progress{Name: l.Name}
	report := func() {
		if tell != nil {
			tell(p)
		}
	}
	if err := s.slots.Acquire(ctx, 1); err != nil {
		return
	}
	u, err := s.get(ctx, l, k, func(bytes, total int64) {
		p.Bytes, p.Total = bytes, total
		report()
	})
	s.slots.Release(1)
	if ctx.Err() != nil { // told to stop: no failure of the list
		u.discard()
		p.Done, p.Err = true, ctx.Err()
		report()
		return
	}
	p.Done = true
	p.Outcome, p.Rules, p.Err = s.conclude(e, l, u, err)
	if p.Outcome == Updated {
		s.Changed(l.Name)
	}
	report()
}

// release lets Run take the list again.
func (s *Subscriber) release(e *entry) {
	s.mu.Lock()
	e.taken = false
	s.mu.Unlock()
}

// get asks for a list and reads what comes into a temporary file.
func (s *Subscriber) get(ctx context.Context, l List, k known, progress func(bytes, total int64)) (u update, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Timeout, fmt.Errorf("took longer than %v", s.Timeout))
	defer cancel()
	stall := newStall(ctx, s.Stall, s.MinRate)
	defer stall.stop()
	if _, err := os.Stat(s.heldPath(l.Name)); err != nil || k.HeldAs != l.readAs() {
		k.Held = nil // it is gone, or may be no worse than ours as it would be read now: it is asked for again
	}
	req, err := newRequest(stall.ctx, l, k)
	if err != nil {
		return u, err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return u, because(stall.ctx, err)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotModified && k.Held != nil:
		u.held = !k.isOurs(res.Header.Get("ETag"))
		return u, nil
	case res.StatusCode == http.StatusNotModified && k.Rules > 0:
		return u, nil
	case res.StatusCode != http.StatusOK:
		return u, &errStatus{res.Status, s.retryAfter(res)}
	case res.ContentLength > s.MaxSize:
		return u, fmt.Errorf("is %d bytes long, over the limit of %d", res.ContentLength, s.MaxSize)
	}
	u.etag, u.modified = res.Header.Get("ETag"), res.Header.Get("Last-Modified")
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return u, err
	}
	if u.file, err = atomicfile.Create(s.Dir); err != nil {
		return u, err
	}
	body := &metered{r: res.Body, left: s.MaxSize, total: max(res.ContentLength, 0), moved: stall.moved, progress: progress}
	switch n, copyErr := io.Copy(u.file, body); {
	case errors.Is(copyErr, io.ErrUnexpectedEOF):
		err = fmt.Errorf("was cut short by the server, or on the way, after %d bytes", n)
	case copyErr != nil:
		err = because(stall.ctx, copyErr)
	default:
		if l.Key != "" {
			err = s.fetchSignature(stall.ctx, u.file, l)
		}
		if err == nil {
			u.reading, err = s.inspect(u.file.Name(), l)
		}
	}
	if err != nil {
		u.discard()
		u.file = nil
	}
	return u, err
}

// isOurs reports whether a server that had the choice between our copy and the
// held one means ours by an ETag. One that sends none (RFC 9110, 15.4.5 has it
// send one) means what it sent last.
func (k *known) isOurs(etag string) bool {
	opaque := func(s string) string { return strings.TrimPrefix(s, "W/") }
	return etag != "" && k.Rules > 0 && opaque(etag) == opaque(k.ETag) && opaque(etag) != opaque(k.HeldETag)
}

// newRequest makes a request that asks only for what is neither our copy nor the
// held one.
func newRequest(ctx context.Context, l List, k known) (*http.Request, error) {
	u, err := parseURL(l.URL)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(withList(ctx, u), http.MethodGet, l.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "Telltale")
	var etags []string
	modified := ""
	if k.Rules > 0 && k.ETag != "" {
		etags = append(etags, k.ETag)
	}
	if k.Rules > 0 {
		modified = k.LastModified
	}
	if k.Held != nil {
		modified = k.HeldModified
		if k.HeldETag != "" && k.HeldETag != k.ETag {
			etags = append(etags, k.HeldETag)
		}
	}
	if len(etags) > 0 {
		req.Header.Set("If-None-Match", strings.Join(etags, ", "))
	}
	if modified != "" {
		req.Header.Set("If-Modified-Since", modified)
	}
	return req, nil
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3), up to a day.
func (s *Subscriber) retryAfter(res *http.Response) time.Duration {
	v := res.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(v); err == nil && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, 24*time.Hour)
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, min(at.Sub(s.Now()), 24*time.Hour))
	}
	return 0
}

// A judgement is what is to be done with an update.
type judgement struct {
	same    bool   // it is our copy
	refusal string // why it is held back; "" where it is not
}

// judge compares an update with our copy, without holding mu: that reads both.
func (s *Subscriber) judge(e *entry, l List, u *update) (j judgement) {
	s.mu.Lock()
	have, foreign := e.known.Rules, e.known.Foreign
	s.mu.Unlock()
	if have > 0 && s.isCopy(l.Name, u) { // a server without conditions
		return judgement{same: true}
	}
	if foreign {
		have = 0 // another URL's list may well be shorter
	}
	j.refusal = u.reading.refusal(have)
	if j.refusal == "" && have > 0 && u.reading.impact != nil {
		j.refusal = s.harm(l, u.reading.impact)
	}
	return j
}

// conclude judges an update and puts it in place, holds it, or counts a failure.
func (s *Subscriber) conclude(e *entry, l List, u update, err error) (o Outcome, rules int, why error) {
	e.files.Lock()
	defer e.files.Unlock()
	var j judgement
	if err == nil && u.file != nil {
		j = s.judge(e, l, &u)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.entries, e) { // the list was taken away, or given another URL
		u.discard()
		return Failed, 0, errors.New("the list was changed meanwhile")
	}
	k := &e.known
	now := s.Now()
	k.Tried, k.RetryAfter = now, time.Time{}
	defer func() {
		s.schedule(e)
		s.saveLocked(e)
	}()
	if err != nil {
		return Failed, 0, s.failLocked(e, err)
	}
	if u.held && k.Held != nil {
		return HeldBack, 0, s.holdOnLocked(e, k.Held.Reason)
	}
	if u.file == nil {
		k.Checked = now
		s.dropHeldLocked(e)
		s.recoverLocked(e)
		return Unchanged, k.Rules, nil
	}
	if j.same {
		u.discard()
		k.ETag, k.LastModified, k.Checked, k.Foreign, k.OldURL = u.etag, u.modified, now, false, ""
		k.Size, k.Hash = u.reading.size, u.reading.hash
		s.dropHeldLocked(e)
		s.recoverLocked(e)
		return Unchanged, k.Rules, nil
	}
	if j.refusal != "" {
		return HeldBack, 0, s.holdLocked(e, u, j.refusal)
	}
	if err := s.replace(l.Name, u.file); err != nil {
		return Failed, 0, s.failLocked(e, err)
	}
	s.dropHeldLocked(e)
	k.ETag, k.LastModified = u.etag, u.modified
	k.Fetched, k.Checked, k.Foreign, k.OldURL = now, now, false, ""
	k.Rules, k.Bad, k.Size, k.Hash = u.reading.report.Rules, u.reading.report.BadTotal, u.reading.size, u.reading.hash
	s.recoverLocked(e)
	s.Logger.Info("subscription updated", "list", l.Name, "rules", k.Rules, "bad", k.Bad)
	return Updated, k.Rules, nil
}

// isCopy reports whether an update is what we have, byte for byte.
func (s *Subscriber) isCopy(name string, u *update) bool {
	if info, err := os.Stat(s.path(name)); err != nil || info.Size() != u.reading.size {
		return false
	}
	have, err := os.Open(s.path(name))
	if err != nil {
		return false
	}
	defer have.Close()
	if _, err := u.file.Seek(0, io.SeekStart); err != nil {
		return false
	}
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(have, a)
		m, _ := io.ReadFull(u.file, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return false
		}
		if err != nil {
			return err == io.EOF || err == io.ErrUnexpectedEOF
		}
	}
}

// replace puts a download in place of the copy, which becomes the previous one.
// There is a whole copy under its name at any moment.
func (s *Subscriber) replace(name string, f *os.File) error {
	path, previous := s.path(name), s.previousPath(name)
	os.Remove(previous)
	if err := os.Link(path, previous); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Logger.Debug("subscription: the previous copy is not kept", "list", name, "error", err)
	}
	return atomicfile.Commit(f, path)
}

// failLocked counts a failure. The copy stays.
func (s *Subscriber) failLocked(e *entry, err error) error {
	k := &e.known
	var status *errStatus
	if errors.As(err, &status) && status.retry > 0 {
		k.RetryAfter = s.Now().Add(status.retry)
	}
	first := k.Err != err.Error()
	k.Failures++
	k.Err = err.Error()
	s.Logger.Warn("subscription failed", "list", e.list.Name, "failures", k.Failures, "error", err)
	if first {
		s.Report("list-failed", e.list.Name, k.Err)
	}
	return err
}

// holdLocked keeps a refused update beside the copy. It is asked for again as
// often as any other, and not as a failure: the server works.
func (s *Subscriber) holdLocked(e *entry, u update, refusal string) error {
	k := &e.known
	now := s.Now()
	if err := atomicfile.Commit(u.file, s.heldPath(e.list.Name)); err != nil {
		return s.failLocked(e, err)
	}
	again := k.Held != nil && k.Held.Reason == refusal
	k.Held = &Held{Reason: refusal, NoList: u.reading.problem() != "", At: now, Rules: u.reading.report.Rules, Size: u.reading.size, Hash: u.reading.hash}
	k.HeldETag, k.HeldModified, k.HeldAs = u.etag, u.modified, e.list.readAs()
	if !again {
		s.Logger.Warn("subscription held back", "list", e.list.Name, "why", refusal)
		s.Report("list-held", e.list.Name, "the update "+refusal)
	}
	return s.holdOnLocked(e, refusal)
}

// holdOnLocked notes that what the server has is still what is held.
func (s *Subscriber) holdOnLocked(e *entry, refusal string) error {
	k := &e.known
	if k.Rules == 0 { // nothing to fall back on: soon again
		k.Failures++
		k.Err = "the list " + refusal
	} else {
		k.Failures, k.Err = 0, ""
	}
	return errors.New(refusal)
}

// recoverLocked ends a time of failures.
func (s *Subscriber) recoverLocked(e *entry) {
	k := &e.known
	if k.Err != "" {
		s.Report("list-recovered", e.list.Name, "after: "+k.Err)
	}
	k.Failures, k.Err = 0, ""
}

func (s *Subscriber) dropHeldLocked(e *entry) {
	if e.known.Held != nil {
		os.Remove(s.heldPath(e.list.Name))
		s.Report("list-recovered", e.list.Name, "after an update that "+e.known.Held.Reason)
	}
	e.known.Held, e.known.HeldETag, e.known.HeldModified, e.known.HeldAs = nil, "", "", ""
}

// Accept puts the update that was held back in place, whatever was wrong with
// it, unless it has no rules or cannot be read to its end.
func (s *Subscriber) Accept(name string) error {
	entries, err := s.named([]string{name})
	if err != nil {
		return err
	}
	if err := s.accept(entries[0]); err != nil {
		return fmt.Errorf("list %s: %w", name, err)
	}
	s.Changed(name)
	return nil
}

func (s *Subscriber) accept(e *entry) error {
	e.files.Lock() // what is held stays what it is
	defer e.files.Unlock()
	s.mu.Lock()
	l, held := e.list, e.known.Held
	s.mu.Unlock()
	if held == nil {
		return errors.New("no update is held back")
	}
	r, err := s.inspect(s.heldPath(l.Name), l)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := &e.known
	if r.size != held.Size || held.Hash != 0 && r.hash != held.Hash {
		return errors.New("the update is damaged on disk: fetch it again")
	}
	if p := r.problem(); p != "" {
		return fmt.Errorf("the update %s: nothing in it can be put in force", p)
	}
	f, err := os.Open(s.heldPath(e.list.Name))
	if err != nil {
		return err
	}
	if err := s.replace(e.list.Name, f); err != nil {
		return err
	}
	s.Report("list-accepted", e.list.Name, "an update that "+k.Held.Reason)
	k.ETag, k.LastModified = k.HeldETag, k.HeldModified
	k.Fetched, k.Foreign, k.OldURL, k.Failures, k.Err = k.Held.At, false, "", 0, ""
	k.Rules, k.Bad, k.Size, k.Hash = r.report.Rules, r.report.BadTotal, r.size, r.hash
	k.Held, k.HeldETag, k.HeldModified, k.HeldAs = nil, "", "", ""
	s.schedule(e)
	s.saveLocked(e)
	return nil
}

func (u *update) discard() {
	if u.file != nil {
		atomicfile.Discard(u.file)
	}
}

// because prefers the reason a context was ended for to what the network made of
// it.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}
