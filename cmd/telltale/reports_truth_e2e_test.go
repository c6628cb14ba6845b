//go:build e2e

package main

import (
	"os"
	"strconv"
	"testing"
	"time"

	homes "telltale/evidence/household"
)

// Reports of a made-up home over a fortnight, in the week in which clocks are changed.
// HOUSEHOLD_DAYS says how long it is instead: of 90 days, a change of clocks is among them.
func TestE2EReportsOfAHouseholdAreTheTruth(t *testing.T) {
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
	newHomeTest(t, h).check(10, 1)
	t.Logf("%d lookups in %d days", len(h.Lookups), days)
}
