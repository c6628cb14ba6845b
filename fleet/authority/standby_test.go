package authority

import (
	"os"
	"path/filepath"
	"testing"
)

// A second center that has a copy of the first one's directory is the same center to nodes.
func TestACopyOfTheAuthorityIsTheSameCenter(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "authority")
	first := newFleet(t, dir)
	kitchen := first.join("kitchen")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(copied, keyFile), 0o600); err != nil {
		t.Fatal(err)
	}
	second := newFleet(t, copied)
	if got, err := second.asks(kitchen); got != "kitchen" || err != nil {
		t.Errorf("the second center takes the node for %q (%v)", got, err)
	}
	if err := second.Revoke("kitchen"); err != nil {
		t.Fatal(err)
	}
	_, err := second.asks(kitchen)
	refuses(t, err, "was revoked")
}
