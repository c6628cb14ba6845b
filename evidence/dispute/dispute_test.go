package dispute

import (
	"os"
	"testing"
)

// TestDispute writes the home of docs/example into the directory that DISPUTE_DIR names:
// that is how docs/example/make.sh makes it.
func TestDispute(t *testing.T) {
	dir := os.Getenv("DISPUTE_DIR")
	if dir == "" {
		t.Skip("DISPUTE_DIR is not set: docs/example/make.sh sets it")
	}
	Write(t, dir)
}
