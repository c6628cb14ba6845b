package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A footprint is what Telltale occupies with a warm cache and its log on, in
// one run.
type footprint struct {
	Size, Run      int
	Text, Compiled memory        // started from text, and from compiled lists
	Reloading      memory        // after the whole list was reloaded; its peak is that of the reload
	InForce        time.Duration // from the edit that caused it
}

// memoryOfNames reads what the lists cost at rest and while they are replaced.
func (b *bench) memoryOfNames(run int) error {
	for _, size := range b.set.sizes {
		c, files, err := b.names(size)
		if err != nil {
			return err
		}
		f, err := b.footprint(c, files)
		if err != nil {
			return err
		}
		f.Size, f.Run = size, run
		b.report.footprints = append(b.report.footprints, f)
		b.say("telltale %8d names, 20,000 answers cached: RSS %d MB from text, %d MB (anonymous %d) from compiled lists; peak while reloading %d MB",
			size, f.Text.RSS>>20, f.Compiled.RSS>>20, f.Compiled.Anon>>20, f.Reloading.Peak>>20)
	}
	return nil
}

func (b *bench) footprint(c *catalogue, files loads) (f footprint, err error) {
	s, at, err := b.fresh("telltale", c)
	if err != nil {
		return f, err
	}
	defer func() { b.shut(s) }()
	if f.Text, err = b.warmMemory(s, files); err != nil {
		return f, err
	}
	b.shut(s)
	if s, err = b.open("telltale", c, at, b.set.serverCore); err != nil {
		return f, err
	}
	if f.Compiled, err = b.warmMemory(s, files); err != nil {
		return f, err
	}
	if err := s.resetPeak(); err != nil {
		return f, err
	}
	if f.InForce, err = b.reload(s, at, 0); err != nil {
		return f, err
	}
	if err := b.letCompile(s); err != nil {
		return f, err
	}
	f.Reloading, err = s.memory()
	return f, err
}

// warmMemory fills the cache, lets the server come to rest, and reads.
func (b *bench) warmMemory(s *server, files loads) (memory, error) {
	if err := b.warm(s, files["warm"]); err != nil {
		return memory{}, err
	}
	if err := b.letCompile(s); err != nil {
		return memory{}, err
	}
	return s.memory()
}

// reload adds a line to Telltale's large list and waits until it is obeyed.
func (b *bench) reload(s *server, at site, count int) (time.Duration, error) {
	name := fmt.Sprintf("reload-%d.edited.example", count)
	f, err := os.OpenFile(filepath.Join(at.dir, "lists.d", "names.txt"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	if _, err = f.WriteString(name + "\n"); err == nil {
		err = f.Close()
	}
	if err != nil {
		return 0, err
	}
	const longest = 30 * time.Second
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		a, err := ask(s.port, name, 100*time.Millisecond)
		took := time.Since(begun)
		switch {
		case err == nil && a.blocked():
			return took, nil
		case took > longest:
			return took, fmt.Errorf("an added line is not in force after %v", longest)
		case b.ctx.Err() != nil:
			return took, b.ctx.Err()
		}
	}
}

// day asks as many queries as a day has seconds, again and again. Only the
// first time finds anything new.
func (b *bench) day() error {
	const more = 8
	c, files, err := b.names(b.set.sizes[0])
	if err != nil {
		return err
	}
	s, _, err := b.fresh("telltale", c)
	if err != nil {
		return err
	}
	defer b.shut(s)
	for n := range 1 + more {
		got, _, err := b.blast(s.port, files["day"], "-n", "86400")
		if err == nil {
			err = b.letCompile(s)
		}
		if err != nil {
			return err
		}
		m, err := s.memory()
		if err != nil {
			return err
		}
		b.report.days = append(b.report.days, m)
		b.say("86,400 queries, time %d: %.1f s, %d lost, RSS %.1f MB, anonymous %.1f MB", n+1, got.Took.Seconds(), got.Lost,
			megabytes(m.RSS), megabytes(m.Anon))
	}
	return nil
}

// idle asks one query a second.
func (b *bench) idle() error {
	if b.set.idle == 0 {
		return nil
	}
	c, _, err := b.names(b.set.sizes[0])
	if err != nil {
		return err
	}
	s, _, err := b.fresh("telltale", c)
	if err != nil {
		return err
	}
	defer b.shut(s)
	if err := b.letCompile(s); err != nil {
		return err
	}
	before, err := s.cpu()
	if err != nil {
		return err
	}
	begun := time.Now()
	for n := 0; time.Since(begun) < b.set.idle; n++ {
		name := c.listed[n%len(c.listed)]
		if n%2 == 0 {
			name = c.unlisted[n%cachedNames]
		}
		if _, err := ask(s.port, name, time.Second); err != nil {
			return err
		}
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-time.After(time.Second):
		}
	}
	after, err := s.cpu()
	if err != nil {
		return err
	}
	b.report.idleFor = time.Since(begun)
	b.report.idleCPU = after - before
	b.say("one query a second for %.0f s: %v of CPU", b.report.idleFor.Seconds(), b.report.idleCPU)
	return nil
}
