package resolver

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"telltale/atomicfile"
	"telltale/clock"
	"telltale/dnswire"
	"telltale/resolver/cache"
)

// Answers are kept over a restart in a file, as they came from upstreams: when they are
// read, they go the way of an upstream's reply. The file is:
//
//	what               octets
//	keptMagic          19
//	wall clock         8, Unix milliseconds
//	since boot         8, nanoseconds, sleep included
//	synchronised       1: whether the wall clock was
//	boot               1, and so many: what names the boot
//	upstreams          32: SHA-256 of whom was asked, see keptUpstreams
//	answers            each: flags 1, place 1, age 8 (ms), EDE 2, its text 1 and so many, the reply 2 and so many
//	end                1: 0xff
//	SHA-256            32: of all before
//
// The place is that of whose servers gave the answer among the Forwards for some devices,
// from 1; 0: it is for everybody. Numbers are little-endian. A change of it has another magic.
const keptMagic = "telltale answers 2\n"

const (
	keptDO     = 1
	keptCD     = 2
	keptAD     = 4
	keptInside = 8
	keptEnd    = 0xff
)

// Times of keeping.
const (
	keepEvery      = time.Hour
	keptPatience   = 10 * time.Minute // for a clock that is not set yet, or upstreams that are not known yet
	keptRetry      = 2 * time.Second
	keptHeaderLeft = 1 << 16 // what a file may have beside as many octets as the cache
)

// A Kept is what has become of the answers of before.
type Kept struct {
	File     string
	Restored int           // answers of before the start
	Age      time.Duration // of the file, when they were taken
	Waiting  string        // why they are not in use yet; "" where they are, or never will be
	Unused   string        // why they are not used; "" where they are
	Saved    time.Time     // when the file was last written; zero: not since the start
	Failed   string        // why it could not be; "" where it could
}

// A keptFile is a file of answers that was read.
type keptFile struct {
	saved     clock.Reading
	upstreams [sha256.Size]byte
	answers   []byte
}

var errKeptDamaged = errors.New("it is damaged")

// readKept reads a file of at most so many octets.
func readKept(path string, most int64) (*keptFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%w: it has more than %d octets", errKeptDamaged, most)
	}
	end := len(text) - sha256.Size
	if end < 0 {
		return nil, fmt.Errorf("%w: it has %d octets", errKeptDamaged, len(text))
	}
	if sum := sha256.Sum256(text[:end]); !bytes.Equal(sum[:], text[end:]) {
		return nil, fmt.Errorf("%w: its checksum does not fit", errKeptDamaged)
	}
	return parseKept(text[:end])
}

// parseKept reads the head of a file.
func parseKept(text []byte) (*keptFile, error) {
	rest, ok := bytes.CutPrefix(text, []byte(keptMagic))
	if !ok {
		return nil, errors.New("it is no file of answers, or of another version of Telltale")
	}
	const fixed = 8 + 8 + 1 + 1
	if len(rest) < fixed || len(rest) < fixed+int(rest[fixed-1])+sha256.Size {
		return nil, fmt.Errorf("%w: it ends too soon", errKeptDamaged)
	}
	k := &keptFile{saved: clock.Reading{
		Wall:         time.UnixMilli(int64(binary.LittleEndian.Uint64(rest))),
		SinceBoot:    time.Duration(binary.LittleEndian.Uint64(rest[8:])),
		Synchronised: rest[16] == 1,
	}}
	rest = rest[fixed:]
	boot := int(text[len(keptMagic)+fixed-1])
	k.saved.Boot, rest = string(rest[:boot]), rest[boot:]
	k.upstreams, k.answers = [sha256.Size]byte(rest), rest[sha256.Size:]
	return k, nil
}

// A keptAnswer is one answer of a file.
type keptAnswer struct {
	flags byte
	place int           // of whom it is from, see keptMagic
	age   time.Duration // when the file was written
	ede   dnswire.EDE
	wire  []byte
}

// each yields the answers; it returns an error where they do not end as they should.
func (k *keptFile) each(yield func(*keptAnswer)) error {
	rest := k.answers
	take := func(n int) []byte {
		if rest == nil || n > len(rest) {
			rest = nil
			return make([]byte, n)
		}
		b := rest[:n]
		rest = rest[n:]
		return b
	}
	for {
		a := keptAnswer{flags: take(1)[0]}
		if rest == nil {
			return fmt.Errorf("%w: the answers do not end", errKeptDamaged)
		}
		if a.flags == keptEnd {
			return nil
		}
		a.place = int(take(1)[0])
		a.age = time.Duration(binary.LittleEndian.Uint64(take(8))) * time.Millisecond
		a.ede.Code = binary.LittleEndian.Uint16(take(2))
		a.ede.Text = string(take(int(take(1)[0])))
		a.wire = take(int(binary.LittleEndian.Uint16(take(2))))
		if rest != nil && a.age >= 0 {
			yield(&a)
		}
	}
}

// entry makes an answer what it was: the reply goes the way of an upstream's. It is
// stored so long before now. q is what it is the answer to.
func (a *keptAnswer) entry(sz *dnswire.Sanitizer, stored time.Time) (q dnswire.Question, e *cache.Entry, ok bool) {
	if len(a.wire) < dnswire.HeaderLen {
		return q, nil, false
	}
	end, err := q.Name.Read(a.wire, dnswire.HeaderLen)
	if err != nil || len(a.wire) < end+4 {
		return q, nil, false
	}
	q.Type, q.Class = binary.BigEndian.Uint16(a.wire[end:]), binary.BigEndian.Uint16(a.wire[end+2:])
	q.DO, q.CD = a.flags&keptDO != 0, a.flags&keptCD != 0
	if q.Class != dnswire.ClassIN || q.Type == 0 {
		return q, nil, false
	}
	c, err := sz.Sanitize(a.wire, &q)
	if err != nil {
		return q, nil, false
	}
	c.AD = a.flags&keptAD != 0
	e = new(cache.Entry)
	setEntry(e, &c, q.Type, true, a.flags&keptInside != 0, stored)
	e.EDE = a.ede
	return q, e, !e.IsFailure()
}

// restore puts the answers of a file that was written so long before now into the
// cache, and returns how many. What is known by now stays, but that nobody answered.
func (s *Server) restore(k *keptFile, down time.Duration) (n int, err error) {
	now, places := s.now(), s.upstreams.Places()
	var sz dnswire.Sanitizer
	err = k.each(func(a *keptAnswer) {
		age := a.age + down
		if age < 0 || age > maxKeptAge || a.place > len(places) {
			return
		}
		q, e, ok := a.entry(&sz, now.Add(-age))
		if a.place > 0 {
			q.View = places[a.place-1]
		}
		if have := s.cache.Peek(&q); ok && (have == nil || have.IsFailure() && !have.IsVerdict()) {
			s.cache.Put(&q, e)
			n++
		}
	})
	return n, err
}

// maxKeptAge is longer than any answer is served: a day, and three days after it.
const maxKeptAge = 5 * 24 * time.Hour

// keptUpstreams says who is asked, so that no answers of others are used.
func (s *Server) keptUpstreams() [sha256.Size]byte {
	h := sha256.New()
	for _, u := range s.upstreams.Status() {
		at := netip.AddrPort{}
		if !u.Transport.IsEncrypted() {
			at = u.Addr // the router of another network is another one
		}
		fmt.Fprintf(h, "%q %v %q %q %v\n", u.ID, at, u.Zones, u.For, u.TrustAD)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// saveAnswers writes the file.
func (s *Server) saveAnswers() {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	err := s.writeAnswers()
	if err != nil {
		s.logger.Warn("answers are not kept for the next start", "file", s.answersFile, "error", err)
	}
	s.changeKept(func(k *Kept) {
		if k.Failed = ""; err != nil {
			k.Failed = err.Error()
		} else {
			k.Saved = s.now()
		}
	})
}

func (s *Server) writeAnswers() error {
	dir := filepath.Dir(s.answersFile)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := atomicfile.Create(dir)
	if err != nil {
		return err
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 64<<10)
	s.encodeAnswers(w)
	err = w.Flush()
	if err == nil {
		_, err = f.Write(sum.Sum(nil))
	}
	if err != nil {
		atomicfile.Discard(f)
		return err
	}
	return atomicfile.Commit(f, s.answersFile)
}

// encodeAnswers writes all but the checksum. w remembers an error.
func (s *Server) encodeAnswers(w *bufio.Writer) {
	r, upstreams := s.clocks(), s.keptUpstreams()
	var b []byte
	b = append(b, keptMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Wall.UnixMilli()))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.SinceBoot))
	synchronised := byte(0)
	if r.Synchronised {
		synchronised = 1
	}
	boot := r.Boot[:min(len(r.Boot), 0xff)]
	b = append(b, synchronised, byte(len(boot)))
	b = append(b, boot...)
	b = append(b, upstreams[:]...)
	now, places := s.now(), s.upstreams.Places()
	s.cache.Items(nil, now, func(it *cache.Item) bool {
		place := 0
		if view := it.Question.View; view != 0 {
			place = slices.Index(places, view) + 1
		}
		if it.State == cache.Failure || it.State == cache.Over || it.Wire == nil || place == 0 && it.Question.View != 0 {
			return true
		}
		w.Write(b)
		b = appendKept(b[:0], it, byte(place))
		return true
	})
	w.Write(append(b, keptEnd))
}

// appendKept appends one answer.
func appendKept(b []byte, it *cache.Item, place byte) []byte {
	flags := byte(0)
	for i, is := range [...]bool{it.Question.DO, it.Question.CD, it.AD, it.Inside} { // keptDO and so on
		if is {
			flags |= 1 << i
		}
	}
	b = append(b, flags, place)
	b = binary.LittleEndian.AppendUint64(b, uint64(max(it.Age, 0).Milliseconds()))
	b = binary.LittleEndian.AppendUint16(b, it.EDE.Code)
	text := it.EDE.Text[:min(len(it.EDE.Text), 0xff)]
	b = append(append(b, byte(len(text))), text...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(it.Wire)))
	return append(b, it.Wire...)
}

// keepAnswers takes the answers of before the start into use, and writes those of now
// every hour, until the server stops.
func (s *Server) keepAnswers() {
	s.restoreAnswers()
	every := time.NewTicker(keepEvery)
	defer every.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-every.C:
			s.saveAnswers()
		}
	}
}

// restoreAnswers takes the answers of before the start into use as soon as it is known
// how old they are, and that they are of the upstreams that are asked now.
func (s *Server) restoreAnswers() {
	k, err := readKept(s.answersFile, s.cacheSize+keptHeaderLeft)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		s.unusedKept(err.Error())
		return
	}
	retry := time.NewTicker(s.keptRetry)
	defer retry.Stop()
	for until := time.Now().Add(keptPatience); ; {
		if s.flushed.Load() {
			s.changeKept(func(k *Kept) { k.Waiting = "" })
			return
		}
		down, why := s.mayUseKept(k)
		if why == "" {
			n, err := s.restore(k, down)
			s.changeKept(func(k *Kept) { k.Restored, k.Age, k.Waiting = n, down, "" })
			if err != nil {
				s.unusedKept(err.Error())
			}
			s.logger.Info("answers of before the start are in the cache", "answers", n, "age", down.Round(time.Second))
			return
		}
		if time.Now().After(until) {
			s.unusedKept(why)
			return
		}
		s.changeKept(func(k *Kept) { k.Waiting = why })
		select {
		case <-s.ctx.Done():
			return
		case <-retry.C:
		}
	}
}

// mayUseKept returns how long ago a file was written, or why it may not be used now.
func (s *Server) mayUseKept(k *keptFile) (down time.Duration, why string) {
	down, ok := s.clocks().Since(k.saved)
	switch {
	case !ok:
		return 0, "nobody knows how long ago it was written: the machine has started anew, and its clock is not set, was not then, or stands before it"
	case s.keptUpstreams() != k.upstreams:
		return 0, "other upstreams are asked than those that gave the answers"
	}
	return down, ""
}

// unusedKept says why answers of before the start are not used.
func (s *Server) unusedKept(why string) {
	s.logger.Warn("answers of before the start are not used", "file", s.answersFile, "why", why)
	s.changeKept(func(k *Kept) { k.Unused, k.Waiting = why, "" })
}

// changeKept changes what Kept returns.
func (s *Server) changeKept(change func(*Kept)) {
	s.keptMu.Lock()
	defer s.keptMu.Unlock()
	change(&s.kept)
}

// Kept says what has become of the answers of before; ok is false where none are kept.
func (s *Server) Kept() (k Kept, ok bool) {
	s.keptMu.Lock()
	defer s.keptMu.Unlock()
	return s.kept, s.answersFile != ""
}

// watchSleep tells the cache when the machine has slept: the clock by which a process
// counts time stands still then.
func (s *Server) watchSleep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := s.slept(); ; {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		if now := s.slept(); now-last >= 100*time.Millisecond {
			s.cache.Advance(now - last)
			last = now
		}
	}
}
