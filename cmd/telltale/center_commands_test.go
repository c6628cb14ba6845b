//go:build !small

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// centerSettings writes settings of a center in a new directory, and returns their file.
func centerSettings(t *testing.T, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "telltale.yaml")
	writeFile(t, file, "data: {dir: data}\nlists: {dir: lists}\n"+more)
	return file
}

// runs returns what a command prints, on both outputs, and its exit status.
func runs(t *testing.T, args ...string) (text string, exit int) {
	t.Helper()
	var out bytes.Buffer
	exit = command(context.Background(), args, &out, &out, nil)
	return out.String(), exit
}

func TestCommandsMakeNoAuthorityWhereNoCenterRan(t *testing.T) {
	t.Parallel()
	file := centerSettings(t, "")
	for _, args := range [][]string{{"nodes"}, {"nodes", "--accept", "attic"}, {"revoke", "attic"}} {
		got, exit := runs(t, append(append([]string{"center"}, args...), "--config", file)...)
		if want := "no center was ever run here: run 'telltale center'"; exit != 1 || !strings.Contains(got, want) {
			t.Errorf("%v: got exit %d and %q, want exit 1 and %q", args, exit, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "data")); !os.IsNotExist(err) {
		t.Errorf("the commands wrote into the data directory (%v)", err)
	}
}
