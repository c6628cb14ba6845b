//go:build e2e

package bundle

import (
	"os"
	"strings"
	"testing"
)

// wholeRun has the tests try as many bundles as is said of them; without it a fifth, which
// takes a minute less of two processors.
const wholeRun = "BUNDLE_WHOLE"

// many returns how many bundles are tried.
func many(all int) int {
	if os.Getenv(wholeRun) == "" {
		return all / 5
	}
	return all
}

func TestE2ENoneOf5000CopiesWithAFlippedBitIsVerified(t *testing.T) { flipBits(t, many(5000)) }

func TestE2ENoneOf500BundlesWithLinesMovedIsVerified(t *testing.T) { moveLines(t, many(500)) }

func TestE2ENoneOf100ForksIsVerified(t *testing.T) { forkLogs(t, many(100)) }

// More escapes than a regular expression has stack for.
func TestE2EALineOfFiveMillionEscapesIsTaken(t *testing.T) {
	if os.Getenv(wholeRun) == "" {
		t.Skip("it takes 18 s of the processor: set ", wholeRun)
	}
	line := []byte(`{"ledger":1,"id":1,"kind":"x","detail":"` + strings.Repeat(`\"`, 5_000_000) + `"}`)
	if _, _, err := readLine(line); err != nil {
		t.Error(err)
	}
	for _, o := range startOthers(t) {
		if got := o.says(&job{Line: line}); got != "verified" {
			t.Errorf("%s says: %s", o.what, got)
		}
	}
}
