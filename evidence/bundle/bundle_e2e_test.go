//go:build e2e

package bundle

import "testing"

func TestE2ENoneOf5000CopiesWithAFlippedBitIsVerified(t *testing.T) { flipBits(t, 5000) }

func TestE2ENoneOf500BundlesWithLinesMovedIsVerified(t *testing.T) { moveLines(t, 500) }

func TestE2ENoneOf100ForksIsVerified(t *testing.T) { forkLogs(t, 100) }
