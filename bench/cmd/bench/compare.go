package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// errLimit is why a run ends that has used up its time.
var errLimit = errors.New("the time limit is reached")

// A part is something to measure, once or in several rounds. Rounds of all
// parts alternate, so that what disturbs one disturbs all, and the time limit
// takes rounds from all alike.
type part struct {
	section string        // of BENCH_SECTIONS
	name    string        // on the page, where it failed or was cut
	rounds  int           // at most
	guess   time.Duration // of one round, until one has been measured
	extra   bool          // only after all rounds of the others, where time is left
	peer    bool          // of a peer: that it fails is said and is no failure
	measure func(b *bench, run int) error
}

// sectionNames are the values of BENCH_SECTIONS.
var sectionNames = []string{
	"servers", "saturated", "own", "encrypted", "memory", "latency", "day", "idle", "instructions", "profile", "readers", "small", "overload", "growth", "store",
}

// parts are what is measured, in the order of a round.
func (b *bench) parts() []part {
	var all, extra []part
	several := min(b.set.runs, 3) // of what differs little between rounds
	for i, size := range b.set.sizes {
		all = append(all, part{
			section: "servers", name: thousands(size) + " names", rounds: b.set.runs, guess: b.loadTime(size, 2),
			measure: func(b *bench, run int) error { return b.servers(size, run) },
		})
		for _, peer := range b.set.peers {
			p := part{
				section: "servers", name: fmt.Sprintf("%s with %s names", peer, thousands(size)), rounds: 1, guess: b.loadTime(size, 1), peer: true,
				measure: func(b *bench, run int) error { return b.serve(peer, size, run) },
			}
			if i == 0 {
				all = append(all, p)
			} else {
				p.extra = true
				extra = append(extra, p)
			}
		}
	}
	all = append(all,
		part{section: "saturated", name: "saturated", rounds: b.set.runs, guess: 20 * time.Second, measure: (*bench).saturated},
		part{section: "own", name: "own cost", rounds: b.set.runs, guess: 100 * time.Second, measure: (*bench).own},
		part{section: "encrypted", name: "TLS and HTTPS", rounds: several, guess: 40 * time.Second, measure: (*bench).encrypted},
		part{section: "memory", name: "memory", rounds: several, guess: 20 * time.Second, measure: (*bench).memoryOfNames},
		part{section: "latency", name: "latency", rounds: several, guess: 25 * time.Second, measure: (*bench).latency},
		part{section: "readers", name: "two readers", rounds: several, guess: 15 * time.Second, measure: (*bench).twoReaders},
		once("day", 15*time.Second, (*bench).day),
		once("instructions", 20*time.Second, (*bench).instructions),
		once("profile", 15*time.Second, (*bench).profile),
		once("small", 30*time.Second, (*bench).small),
		once("overload", 60*time.Second, (*bench).overload),
		once("growth", 90*time.Second, (*bench).growth),
		once("store", time.Duration(b.set.rows)*100*time.Microsecond, (*bench).storeAtSize),
		once("idle", b.set.idle, (*bench).idle),
	)
	for _, peer := range b.set.peers {
		if slices.Contains(securePeers, peer) {
			all = append(all, part{
				section: "encrypted", name: "TLS and HTTPS of " + peer, rounds: several, guess: 40 * time.Second, peer: true,
				measure: func(b *bench, run int) error { return b.encryptedOf(peer, run) },
			})
		}
		extra = append(extra, part{
			section: "saturated", name: peer + " saturated", rounds: 1, guess: 15 * time.Second, extra: true, peer: true,
			measure: func(b *bench, run int) error { return b.saturate(peer, run) },
		}, part{
			section: "latency", name: "latency of " + peer, rounds: 1, guess: 15 * time.Second, extra: true, peer: true,
			measure: func(b *bench, run int) error { return b.holdRate(peer, run) },
		})
	}
	slices.SortStableFunc(extra, func(p, q part) int {
		return slices.Index(sectionNames, q.section) - slices.Index(sectionNames, p.section)
	})
	return append(all, extra...)
}

func once(section string, guess time.Duration, measure func(*bench) error) part {
	return part{section: section, name: section, rounds: 1, guess: guess, measure: func(b *bench, _ int) error { return measure(b) }}
}

// loadTime is about how long so many servers are under all loads once.
func (b *bench) loadTime(size, servers int) time.Duration {
	return time.Duration(servers) * fromSeconds(float64(len(loadNames))*b.set.secondsOf(size)+5)
}

// compare measures all parts and writes the page.
func (b *bench) compare() error {
	if err := b.describe(); err != nil {
		return err
	}
	parts := slices.DeleteFunc(b.parts(), func(p part) bool {
		return len(b.set.sections) > 0 && !slices.Contains(b.set.sections, p.section)
	})
	return errors.Join(b.measureAll(parts), b.write())
}

// measureAll takes the rounds of all parts in turn. A part that fails is named on
// the page and does not stop the others; nor does the time limit.
func (b *bench) measureAll(parts []part) error {
	var errs []error
	rounds := 0
	for _, p := range parts {
		rounds = max(rounds, p.rounds)
	}
	for run := range rounds {
		for _, p := range parts {
			if !p.extra && run < p.rounds {
				errs = append(errs, b.take(p, run))
			}
		}
	}
	for _, p := range parts {
		if p.extra {
			errs = append(errs, b.take(p, 0))
		}
	}
	return errors.Join(errs...)
}

// write writes the page and the figures behind it.
func (b *bench) write() error {
	page := b.page()
	fmt.Print("\n", page)
	if b.interrupted() {
		return errors.Join(b.keepRaw(), b.keepText("partial", ".md", page)) // what stands in the page's place stays
	}
	return errors.Join(b.keepRaw(), os.WriteFile(b.set.page, []byte(page), 0o644))
}

// interrupted reports whether somebody has ended the run, and not the limit.
func (b *bench) interrupted() bool {
	cause := context.Cause(b.ctx)
	return cause != nil && !errors.Is(cause, errLimit)
}

// take measures a round of a part where there is time for it. What goes wrong
// is said on the page; it is an error where it is not a peer's.
func (b *bench) take(p part, run int) error {
	if b.interrupted() {
		return nil
	}
	need, known := b.took[p.name]
	if !known {
		need = p.guess
	}
	if time.Until(b.end) < need {
		b.say("no time for %s, round %d", p.name, run+1)
		b.report.cut(p.name, run)
		return nil
	}
	b.say("%s, round %d", p.name, run+1)
	begun := time.Now()
	err := p.measure(b, run)
	b.took[p.name] = max(b.took[p.name], time.Since(begun))
	if errors.Is(context.Cause(b.ctx), errLimit) {
		b.report.cut(p.name, run)
		return nil
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", p.name, err)
	b.say("FAILED %v", err)
	b.report.failed = append(b.report.failed, err.Error())
	if p.peer {
		return nil
	}
	return err
}

// keepRaw writes every single figure behind the medians.
func (b *bench) keepRaw() error {
	text, err := json.MarshalIndent(map[string]any{
		"machine": b.machine.String(), "rounds": b.report.rounds, "footprints": b.report.footprints, "days": b.report.days,
		"growth": b.report.growth, "secured": b.report.secured,
	}, "", " ")
	if err != nil {
		return err
	}
	return b.keepText("compare", ".json", string(text)+"\n")
}

// keepText writes a file of this run beside those of others.
func (b *bench) keepText(what, ending, text string) error {
	if err := os.MkdirAll(b.set.results, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.set.results, what+"-"+b.begun.UTC().Format("20060102-150405")+ending), []byte(text), 0o644)
}
