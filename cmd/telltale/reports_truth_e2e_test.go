//go:build e2e

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	homes "telltale/evidence/household"
)

// Reports of a made-up home over a fortnight, in the week in which clocks are changed.
// HOUSEHOLD_DAYS says how long it is instead: of 90 days, a change of clocks is among them.
func TestE2EReportsOfAHouseholdAreTheTruth(t *testing.T) {
	t.Parallel()
	days := 14
	if n, err := strconv.Atoi(os.Getenv("HOUSEHOLD_DAYS")); err == nil {
		days = n
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	end := time.Date(2025, 11, 3, 0, 0, 0, 0, zone) // a Monday; clocks are changed on 26 October
	begin := end.AddDate(0, 0, -days)
	h := homes.New(homes.Options{Begin: begin, Days: days, Seed: 90})
	newHomeTest(t, h).check(3, 1)
	t.Logf("%d lookups in %d days", len(h.Lookups), days)
}

// What README shows of a made-up home is what the commands print.
func TestE2EReadmeShowsWhatReportsSay(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```console household\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 3 {
		t.Fatalf("README has %d answers, want 3", len(blocks))
	}
	x := newHomeTest(t, homes.New(homes.Options{})) // as "make household" does
	if _, offset := x.h.Begin.Zone(); offset%3600 != 0 {
		t.Skip("hours of the machine's zone do not begin with those of totals")
	}
	t.Chdir(t.TempDir())
	for _, block := range blocks {
		line, want, _ := strings.Cut(strings.TrimPrefix(block[1], "$ "), "\n")
		var out bytes.Buffer
		args := append(fields(line)[1:], "--config", filepath.Join(x.dir, "telltale.yaml"))
		if exit := command(context.Background(), args, &out, &out, nil); exit != 0 || !like(out.String(), want) {
			t.Errorf("$ %s\nexit status %d\n%s\nREADME has\n%s", line, exit, out.String(), want)
		}
	}
	page, err := os.ReadFile("week.html")
	if err != nil || !bytes.Contains(page, []byte("<svg")) {
		t.Errorf("week.html: %v, %d octets", err, len(page))
	}
}
