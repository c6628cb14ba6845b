package querylog

import (
	"fmt"
	"strings"
	"time"
)

// metaAges is the key of the store's ages in its meta table.
const metaAges = "ages"

// An age says that all windows up to a number were stored before a steady time.
// Rows grow old by it and not by what the clock was set to when they came: a row
// that was written while the clock stood at 1970 is as old as the time that went
// by since.
type age struct{ window, steady int64 }

// Ages are kept for each run of retention, and of those before agesExact ago for
// each agesApart.
const (
	agesExact = 72 * time.Hour
	agesApart = 12 * time.Hour
)

// ages returns what the store knows, in order.
func (s *store) ages() (all []age, err error) {
	text, err := s.metaText(metaAges)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		var a age
		if n, _ := fmt.Sscan(line, &a.window, &a.steady); n == 2 {
			all = append(all, a)
		}
	}
	return all, nil
}

// addAge keeps that what is stored now was stored before a steady time.
func (s *store) addAge(steady int64) error {
	all, err := s.ages()
	if err != nil {
		return err
	}
	all = append(all, age{s.position, steady})
	var text strings.Builder
	last := age{steady: -1 << 62}
	for i, a := range all {
		exact := steady-a.steady < agesExact.Milliseconds()
		if i > 0 && !exact && a.steady-last.steady < agesApart.Milliseconds() {
			continue
		}
		last = a
		fmt.Fprintln(&text, a.window, a.steady)
	}
	return s.setMetaText(metaAges, text.String())
}

// endBefore returns the id before which all rows are older than a steady time, 0
// for none. Windows that were stored before ages were kept go by their lookups.
func (s *store) endBefore(before time.Time) (int64, error) {
	all, err := s.ages()
	if err != nil {
		return 0, err
	}
	first, window := int64(maxWindow), int64(-1)
	if len(all) > 0 {
		first = all[0].window
	}
	for _, a := range all {
		if a.steady < before.UnixMilli() {
			window = max(window, a.window)
		}
	}
	if window < first {
		window, err = s.number(`SELECT coalesce((SELECT id FROM window WHERE last < ? AND id <= ? ORDER BY id DESC LIMIT 1), -1)`, before.UnixMilli(), first)
	}
	return (window + 1) << rowBits, err
}
