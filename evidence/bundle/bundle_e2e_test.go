//go:build e2e

package bundle

import (
	"strings"
	"testing"
)

func TestE2ENoneOf5000CopiesWithAFlippedBitIsVerified(t *testing.T) { flipBits(t, 5000) }

func TestE2ENoneOf500BundlesWithLinesMovedIsVerified(t *testing.T) { moveLines(t, 500) }

func TestE2ENoneOf100ForksIsVerified(t *testing.T) { forkLogs(t, 100) }

// More escapes than a regular expression has stack for.
func TestE2EALineOfFiveMillionEscapesIsTaken(t *testing.T) {
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
