package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const inForceWithin = time.Second // of every edit

// edits loads the first size of names, keeps dnsperf asking at a fixed rate,
// and edits a small list and the large one in five ways. Every edit must be in
// force within a second, no query lost, no answer wrong.
func (b *bench) edits() error {
	c, files, at, err := b.firstSite()
	if err != nil {
		return err
	}
	targets, err := editedLists(at, c)
	if err != nil {
		return err
	}
	s, err := b.open("telltale", c, at, b.set.editCores)
	if err != nil {
		return err
	}
	if err := errors.Join(b.letCompile(s), b.warm(s, files["cached"])); err != nil {
		return err
	}
	load := b.holdLoad(s.port, files["half"])
	watch := watchVerdicts(b.ctx, s.port, c)
	time.Sleep(time.Second)
	took, editErr := b.editAll(s, targets)
	wrong := watch.stop()
	asked, loadErr := load.stop()
	text := b.editsText(took, asked, watch)
	fmt.Print("\n", text)
	if err := b.keepText("edits", ".txt", text); err != nil {
		return err
	}
	if !s.alive() {
		return fmt.Errorf("the server ended: %s", s.lastMessages())
	}
	return errors.Join(editErr, loadErr, wrong, slow(took), lostOrWrong(asked))
}

// An edited is a list file under edit. Its first line is a slot of fixed
// length, so that it can also be changed in place.
type edited struct {
	name, path string
	base       []byte // the other lines
	count      int    // edits so far
	slot       string // the name in the slot
}

func editedLists(at site, c *catalogue) ([]*edited, error) {
	lists := filepath.Join(at.dir, "lists.d")
	large, err := os.ReadFile(c.list)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(lists, 0o755); err != nil {
		return nil, err
	}
	targets := []*edited{
		{name: "small", path: filepath.Join(lists, "small.txt"), base: []byte("kept.example\n")},
		{name: "large", path: filepath.Join(lists, "names.txt"), base: large},
	}
	for _, t := range targets {
		t.slot = t.next("slot")
		if err := os.WriteFile(t.path, t.text(), 0o644); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

// next is a name that no edit has listed before, of fixed length.
func (t *edited) next(what string) string {
	t.count++
	return fmt.Sprintf("%s-%05d.%s.edited.example", what, t.count, t.name)
}

func (t *edited) text() []byte {
	return append([]byte(t.slot+"\n"), t.base...)
}

// ways are how an editor, a script or a deployment changes a file. Each puts a
// new name in force, and the ones it returns out of force.
var ways = []struct {
	name string
	edit func(*edited) (added string, removed []string, err error)
}{
	{"in place", (*edited).inPlace},
	{"rename", (*edited).rename},
	{"truncate and write", (*edited).truncate},
	{"symlink swap", (*edited).symlink},
	{"append", (*edited).append},
}

// replaceSlot takes a new name for the first line, and returns what is then no
// longer listed. The rest stays as it is: an edit is in one place.
func (t *edited) replaceSlot() (removed []string) {
	removed = []string{t.slot}
	t.slot = t.next("slot")
	return removed
}

// inPlace writes over the first line and leaves the rest.
func (t *edited) inPlace() (string, []string, error) {
	removed := []string{t.slot}
	t.slot = t.next("slot")
	f, err := os.OpenFile(t.path, os.O_WRONLY, 0)
	if err != nil {
		return "", nil, err
	}
	_, err = f.WriteAt([]byte(t.slot), 0)
	return t.slot, removed, errors.Join(err, f.Close())
}

// rename writes another file and puts it in the place of the list.
func (t *edited) rename() (string, []string, error) {
	removed := t.replaceSlot()
	fresh := t.path + ".new"
	err := os.WriteFile(fresh, t.text(), 0o644)
	if err == nil {
		err = os.Rename(fresh, t.path)
	}
	return t.slot, removed, err
}

func (t *edited) truncate() (string, []string, error) {
	removed := t.replaceSlot()
	return t.slot, removed, os.WriteFile(t.path, t.text(), 0o644)
}

// symlink puts a link to a file of another directory in the place of the list.
func (t *edited) symlink() (string, []string, error) {
	removed := t.replaceSlot()
	elsewhere := filepath.Join(filepath.Dir(filepath.Dir(t.path)), fmt.Sprintf("version-%s-%d", t.name, t.count))
	if err := os.Mkdir(elsewhere, 0o755); err != nil {
		return "", nil, err
	}
	target, link := filepath.Join(elsewhere, filepath.Base(t.path)), t.path+".link"
	err := os.WriteFile(target, t.text(), 0o644)
	if err == nil {
		err = os.Symlink(target, link)
	}
	if err == nil {
		err = os.Rename(link, t.path)
	}
	return t.slot, removed, err
}

// append adds a line, through the link where the file is one.
func (t *edited) append() (string, []string, error) {
	f, err := os.OpenFile(t.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return "", nil, err
	}
	more := t.next("more")
	t.base = append(t.base, more+"\n"...) // what the other ways write has it, too
	_, err = f.WriteString(more + "\n")
	return more, nil, errors.Join(err, f.Close())
}

// A delay is how long one edit took to be in force.
type delay struct {
	list, way string
	took      time.Duration
}

// editAll edits each list so many times, and waits each time until the edit
// is in force.
func (b *bench) editAll(s *server, targets []*edited) (took []delay, err error) {
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for n := range b.set.edits {
		for _, t := range targets {
			way := ways[n%len(ways)]
			added, removed, err := way.edit(t)
			if err != nil {
				return took, fmt.Errorf("%s of the %s list: %w", way.name, t.name, err)
			}
			d, err := b.inForce(conn, added, removed)
			if err != nil {
				return took, fmt.Errorf("edit %d, %s of the %s list: %w", n+1, way.name, t.name, err)
			}
			took = append(took, delay{t.name, way.name, d})
			time.Sleep(time.Duration(100+37*(n%5)) * time.Millisecond) // not in step with anything
		}
		if (n+1)%10 == 0 {
			b.say("%d of %d edits of each list", n+1, b.set.edits)
		}
	}
	return took, nil
}

func (b *bench) inForce(conn net.Conn, added string, removed []string) (time.Duration, error) {
	const longest = 30 * time.Second
	for begun := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		done, err := asListed(conn, added, removed)
		took := time.Since(begun)
		switch {
		case err == nil && done:
			return took, nil
		case took > longest:
			return took, fmt.Errorf("not in force after %v", longest)
		case b.ctx.Err() != nil:
			return took, b.ctx.Err()
		}
	}
}

// asListed asks whether added is blocked and what was removed is not.
func asListed(conn net.Conn, added string, removed []string) (bool, error) {
	a, err := askOn(conn, added, time.Second)
	if err != nil || !a.blocked() {
		return false, err
	}
	for _, name := range removed {
		if a, err := askOn(conn, name, time.Second); err != nil || !a.passed() {
			return false, err
		}
	}
	return true, nil
}

// A heldLoad is dnsperf at a fixed rate until it is stopped.
type heldLoad struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	cost   cost
	err    error
}

func (b *bench) holdLoad(port int, file string) *heldLoad {
	h := &heldLoad{}
	ctx, cancel := context.WithCancel(b.ctx)
	h.cancel = cancel
	h.done.Go(func() {
		out, _, err := runLoad(ctx, []string{
			"-c", b.set.loadCore, "dnsperf", "-s", "127.0.0.1", "-p", fmt.Sprint(port), "-d", file, "-c", "8", "-T", "1",
			"-q", fmt.Sprint(b.set.rate), "-Q", fmt.Sprint(b.set.rate), "-t", "5", "-l", "3600",
		})
		if h.cost, h.err = parseDnsperf(out); h.err != nil {
			h.err = errors.Join(err, h.err) // being interrupted is how it ends
		}
	})
	return h
}

func (h *heldLoad) stop() (cost, error) {
	h.cancel()
	h.done.Wait()
	return h.cost, h.err
}

// A verdictWatch asks for names whose verdict no edit changes.
type verdictWatch struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	asked  int
	lost   int
	wrong  []string
}

func watchVerdicts(ctx context.Context, port int, c *catalogue) *verdictWatch {
	const names, pause = 1000, time.Millisecond
	w := &verdictWatch{}
	ctx, w.cancel = context.WithCancel(ctx)
	w.done.Go(func() {
		conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			w.wrong = append(w.wrong, err.Error())
			return
		}
		defer conn.Close()
		for n := 0; ctx.Err() == nil; n++ {
			listed, unlisted := c.listed[n%min(names, len(c.listed))], c.unlisted[n%names]
			w.ask(conn, listed, answer.blocked)
			w.ask(conn, "below."+listed, answer.blocked)
			w.ask(conn, unlisted, answer.passed)
			time.Sleep(pause)
		}
	})
	return w
}

func (w *verdictWatch) ask(conn net.Conn, name string, right func(answer) bool) {
	w.asked++
	a, err := askOn(conn, name, 2*time.Second)
	switch {
	case err != nil:
		w.lost++
	case !right(a):
		w.wrong = append(w.wrong, fmt.Sprintf("%s: rcode %d %s", name, a.rcode, a.a))
	}
}

func (w *verdictWatch) stop() error {
	w.cancel()
	w.done.Wait()
	var errs []error
	if len(w.wrong) > 0 {
		errs = append(errs, fmt.Errorf("%d wrong answers, such as %s", len(w.wrong), strings.Join(w.wrong[:min(3, len(w.wrong))], "; ")))
	}
	if w.lost > 0 {
		errs = append(errs, fmt.Errorf("the checking client lost %d of %d queries", w.lost, w.asked))
	}
	return errors.Join(errs...)
}

// editsText is how long edits of each list and way took, and what the clients saw.
func (b *bench) editsText(took []delay, asked cost, watch *verdictWatch) string {
	var p strings.Builder
	fmt.Fprintf(&p, "%v\n%s names; an edit is in force after, ms:\n\n", b.machine, thousands(b.set.sizes[0]))
	fmt.Fprintf(&p, "%-8s%-20s%6s%8s%8s%8s%8s\n", "list", "way", "edits", "least", "median", "95 %", "most")
	for _, list := range []string{"small", "large"} {
		for _, way := range ways {
			var ms []float64
			for _, d := range took {
				if d.list == list && d.way == way.name {
					ms = append(ms, float64(d.took)/1e6)
				}
			}
			if len(ms) == 0 {
				continue
			}
			slices.Sort(ms)
			fmt.Fprintf(&p, "%-8s%-20s%6d%8.0f%8.0f%8.0f%8.0f\n", list, way.name, len(ms), ms[0], median(ms), ms[(len(ms)*95-1)/100], ms[len(ms)-1])
		}
	}
	fmt.Fprintf(&p, "\ndnsperf: %d queries answered at %.0f/s, %d lost, %d with another code, longest %.1f ms\n",
		asked.Queries, asked.perSecond(), asked.Lost, asked.Wrong, float64(asked.Max)/1e6)
	fmt.Fprintf(&p, "checking client: %d queries, %d lost, %d wrong\n", watch.asked, watch.lost, len(watch.wrong))
	fmt.Fprintf(&p, "load average before %s, after %s\n", b.machine.loadBefore, loadAverage())
	return p.String()
}

func slow(took []delay) error {
	var late []string
	for i, d := range took {
		if d.took > inForceWithin {
			late = append(late, fmt.Sprintf("edit %d (%s, %s) after %d ms", i+1, d.list, d.way, d.took.Milliseconds()))
		}
	}
	if len(late) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d edits not in force within %v: %s", len(late), len(took), inForceWithin, strings.Join(late[:min(5, len(late))], "; "))
}

func lostOrWrong(c cost) error {
	if c.Lost > 0 || c.Wrong > 0 {
		return fmt.Errorf("dnsperf: %d queries lost, %d answered with another code", c.Lost, c.Wrong)
	}
	return nil
}
