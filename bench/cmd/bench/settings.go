package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings come from the environment, so that they pass through make.
type settings struct {
	telltale string // the program
	base     string // an earlier Telltale, which is measured beside it; "": none
	tools    string // where echo and blast are
	page     string // what is written in the end
	results  string // where the raw figures go

	sizes    []int         // names listed
	seconds  []float64     // of one load with each of the sizes, the last for the rest
	runs     int           // medians are of so many
	peers    []string      // beside Telltale and the echo
	sections []string      // parts of the page; empty: all
	growth   []int         // names listed, where it is shown how costs grow
	rows     int           // of the log whose size and answers are measured
	idle     time.Duration // of one query a second
	rate     int           // queries a second where it is held
	edits    int           // of each list file
	limit    time.Duration // of everything

	serverCore, loadCore string // as taskset takes them
	editCores            string // of the server while lists are edited
}

func readSettings() (*settings, error) {
	e := &environment{}
	s := &settings{
		telltale:   e.text("BENCH_TELLTALE", "bin/telltale"),
		base:       e.text("BENCH_EARLIER", ""),
		tools:      e.text("BENCH_TOOLS", "bench/bin"),
		page:       e.text("BENCH_PAGE", "docs/benchmarks.md"),
		results:    e.text("BENCH_RESULTS", "bench/results"),
		sizes:      e.numbers("BENCH_SIZES", "600000 1200000"),
		seconds:    e.durations("BENCH_SECONDS", "10 5"),
		runs:       int(e.number("BENCH_RUNS", 5)),
		peers:      e.words("BENCH_PEERS", "all"),
		sections:   e.words("BENCH_SECTIONS", ""),
		growth:     e.numbers("BENCH_GROWTH", "10000 100000 1000000 10000000"),
		rows:       int(e.number("BENCH_ROWS", 200_000)),
		idle:       e.seconds("BENCH_IDLE", 30),
		rate:       int(e.number("BENCH_RATE", 20_000)),
		edits:      int(e.number("BENCH_EDITS", 50)),
		limit:      e.seconds("BENCH_LIMIT", 20*60),
		serverCore: e.text("BENCH_SERVER_CORE", "0"),
		loadCore:   e.text("BENCH_LOAD_CORE", "1"),
		editCores:  e.text("BENCH_EDIT_CORES", "0,1"),
	}
	if slices.Equal(s.peers, []string{"all"}) {
		s.peers = slices.Clone(peers)
	}
	if len(s.sections) > 0 && os.Getenv("BENCH_PAGE") == "" {
		s.page = filepath.Join(s.results, "part.md")
	}
	for _, name := range s.peers {
		if !slices.Contains(peers, name) {
			e.fail("BENCH_PEERS: %q is none of %s all", name, strings.Join(peers, " "))
		}
	}
	for _, name := range s.sections {
		if !slices.Contains(sectionNames, name) {
			e.fail("BENCH_SECTIONS: %q is none of %s", name, strings.Join(sectionNames, " "))
		}
	}
	if s.runs < 1 || len(s.seconds) == 0 || len(s.sizes) == 0 {
		e.fail("BENCH_RUNS, BENCH_SECONDS and BENCH_SIZES must be above zero")
	}
	return s, errors.Join(e.errs...)
}

// baseHash is the commit of base, as bench/base.sh names the program.
func (s *settings) baseHash() string {
	return strings.TrimPrefix(filepath.Base(s.base), "telltale-")
}

// secondsOf is how long a load lasts with so many names listed.
func (s *settings) secondsOf(size int) float64 {
	i := max(0, slices.Index(s.sizes, size))
	return s.seconds[min(i, len(s.seconds)-1)]
}

// An environment reads variables and collects what is wrong with them.
type environment struct{ errs []error }

func (e *environment) fail(format string, args ...any) {
	e.errs = append(e.errs, fmt.Errorf(format, args...))
}

func (e *environment) text(key, otherwise string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return otherwise
}

func (e *environment) words(key, otherwise string) []string {
	v, ok := os.LookupEnv(key)
	if !ok {
		v = otherwise
	}
	return strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == ',' })
}

func (e *environment) number(key string, otherwise float64) float64 {
	v := os.Getenv(key)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || n < 0 {
		e.fail("%s: %q is not a number", key, v)
	}
	return n
}

func (e *environment) seconds(key string, otherwise float64) time.Duration {
	return time.Duration(e.number(key, otherwise) * float64(time.Second))
}

// durations are seconds.
func (e *environment) durations(key, otherwise string) []float64 {
	var all []float64
	for _, word := range e.words(key, otherwise) {
		n, err := strconv.ParseFloat(word, 64)
		if err != nil || n <= 0 {
			e.fail("%s: %q is not a number of seconds", key, word)
		}
		all = append(all, n)
	}
	return all
}

func (e *environment) numbers(key, otherwise string) []int {
	var all []int
	for _, word := range e.words(key, otherwise) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1000 {
			e.fail("%s: %q is not a number of names from 1000 on", key, word)
		}
		all = append(all, n)
	}
	return all
}
