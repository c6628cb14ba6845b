// Package witness hands signed checkpoints of the sealed log to where others keep them:
// a directory, a server that takes them by HTTP, and a time-stamp authority, which signs
// when it saw them. Whoever has an old checkpoint can
// tell that the log was written anew since.
//
// Nobody waits for a witness. Each one gets the newest checkpoint at the time and no
// other: a later checkpoint says all that an earlier one says. What fails is tried again
// with the newest.
package witness

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"telltale/clock"
	"telltale/evidence/post"
)

// A Checkpoint is a signed head of the log.
type Checkpoint struct {
	Origin string
	Leaves int64
	Note   []byte
}

// Options are the witnesses. Dir, URL or Timestamp is "" for none.
type Options struct {
	Dir       string        // a file is made in it for each checkpoint that it gets
	URL       string        // to which checkpoints are posted
	Timestamp string        // of a time-stamp authority
	Every     time.Duration // at most one checkpoint in so long goes to each

	Timestamps string // the directory that keeps its answers
	Answers    string // the file that keeps what a server answered last; "" for none
	Transport  http.RoundTripper
	Agent      string
	Logger     *slog.Logger

	timeout, retry, late time.Duration // instead of the constants, for tests
}

const (
	firstRetry = time.Minute // after a failure, twice as long after each further one
	maxRetry   = time.Hour
	lateAfter  = time.Hour // a witness that has failed for so long is a problem
)

// A Sender sends checkpoints to the witnesses.
type Sender struct{ all []*witness }

// A Status says how a witness does. It is one of a directory or of a server.
type Status struct {
	To      string    // the directory, or the scheme and host of the URL: its path may be a secret
	Leaves  int64     // of the last checkpoint that it took since the start; 0 for none
	Time    time.Time // when that was
	Problem string    // why it did not take the last one that was tried; "" where it did
	Since   time.Time // since when it takes none
	Late    bool      // for so long that somebody should look at it
}

// A witness is where checkpoints go. Its loop alone sends.
type witness struct {
	o    *Options
	send func(ctx context.Context, c *Checkpoint) error
	wake chan struct{} // of one: there is a newer checkpoint

	mu     sync.Mutex
	newest *Checkpoint // nil for none
	status Status
}

// New makes a Sender. It sends nothing before Run.
func New(o Options) *Sender {
	setDefault(&o.retry, firstRetry)
	setDefault(&o.late, lateAfter)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := new(Sender)
	add := func(to string, send func(context.Context, *Checkpoint) error) {
		s.all = append(s.all, &witness{o: &o, send: send, wake: make(chan struct{}, 1), status: Status{To: to}})
	}
	if o.Dir != "" {
		add(o.Dir, o.write)
	}
	if o.URL != "" {
		add(post.Shown(o.URL), o.post)
	}
	if o.Timestamp != "" {
		add(post.Shown(o.Timestamp), o.stamp)
	}
	return s
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Offer has the witnesses get a checkpoint, unless a newer one comes first. It never waits.
func (s *Sender) Offer(c Checkpoint) {
	for _, w := range s.all {
		w.mu.Lock()
		if before := w.newest; before == nil || before.Origin != c.Origin || before.Leaves <= c.Leaves {
			w.newest = &c
		}
		w.mu.Unlock()
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, w := range s.all {
		all.Go(func() { w.run(ctx) })
	}
	all.Wait()
}

// Status returns how each witness does.
func (s *Sender) Status() []Status {
	var all []Status
	for _, w := range s.all {
		w.mu.Lock()
		st := w.status
		w.mu.Unlock()
		st.Late = st.Problem != "" && time.Since(st.Since) >= w.o.late
		all = append(all, st)
	}
	return all
}

func (w *witness) run(ctx context.Context) {
	var sent *Checkpoint // the last that was taken
	retry, told := w.o.retry, false
	for {
		c := w.wait(ctx, sent)
		if c == nil {
			return
		}
		err := w.send(ctx, c)
		if ctx.Err() != nil {
			return
		}
		pause := w.o.Every
		if late := w.keep(c, err); err != nil {
			pause, retry = retry, min(2*retry, maxRetry)
			if late && !told {
				told = true
				w.o.Logger.Warn("a witness takes no checkpoints of the sealed log", "witness", w.status.To, "since", w.status.Since.Format(time.RFC3339), "error", err)
			}
		} else {
			if told {
				w.o.Logger.Info("a witness takes checkpoints again", "witness", w.status.To)
			}
			sent, retry, told = c, w.o.retry, false
		}
		if !clock.Sleep(ctx, pause) {
			return
		}
	}
}

// wait returns the newest checkpoint once it is another than the one that was sent; nil
// where ctx ends first.
func (w *witness) wait(ctx context.Context, sent *Checkpoint) *Checkpoint {
	for {
		w.mu.Lock()
		c := w.newest
		w.mu.Unlock()
		if c != nil && (sent == nil || !bytes.Equal(c.Note, sent.Note)) {
			return c
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
	}
}

// keep keeps what became of a checkpoint, and reports whether the witness has failed for
// long. Only the witness's loop changes its status.
func (w *witness) keep(c *Checkpoint, err error) (late bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, st := time.Now(), &w.status
	if err == nil {
		st.Leaves, st.Time, st.Problem, st.Since = c.Leaves, now, "", time.Time{}
		return false
	}
	if st.Problem == "" {
		st.Since = now
	}
	st.Problem = err.Error()
	return now.Sub(st.Since) >= w.o.late
}

// FileName is what the file of a checkpoint is called: files of one log sort by it.
func FileName(c *Checkpoint) string {
	return fmt.Sprintf("%s-%015d.txt", strings.ReplaceAll(c.Origin, "/", "-"), c.Leaves)
}

// write makes the checkpoint's file. The directory is not made: one that is missing may be a
// disk that is not mounted.
func (o *Options) write(_ context.Context, c *Checkpoint) error {
	return keepNote(filepath.Join(o.Dir, FileName(c)), c, 0o644)
}

// post sends a checkpoint to the server.
func (o *Options) post(ctx context.Context, c *Checkpoint) error {
	p := post.Post{
		URL: o.URL, Setting: "evidence.witness.url", Body: c.Note, Transport: o.Transport, Timeout: o.timeout,
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "User-Agent": {o.Agent}},
	}
	said, err := p.Send(ctx)
	if err != nil {
		return err
	}
	if err := o.keepAnswer(c, said); err != nil { // it took the checkpoint all the same
		o.Logger.Warn("what a witness answered is not kept", "witness", post.Shown(o.URL), "error", err)
	}
	return nil
}
