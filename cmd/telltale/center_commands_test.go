//go:build !small

package main

import (
	"bytes"
	"context"
	"net"
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

func TestAnInvitationIsTakenAsItWasPrinted(t *testing.T) {
	t.Parallel()
	file := centerSettings(t, "center: {address: [\"https://127.0.0.1:1\", \"https://[::1]:1\"]}\n")
	line, exit := runs(t, "center", "invite", "attic", "--config", file)
	if want := "telltale fleet join 'https://127.0.0.1:1,https://[::1]:1/attic/"; exit != 0 || !strings.HasPrefix(line, want) {
		t.Fatalf("got exit %d and %q, want %q", exit, line, want)
	}
	line = strings.TrimSpace(line)
	for _, args := range [][]string{{line}, strings.Fields(strings.ReplaceAll(line, "'", "")), {strings.Fields(line)[3]}} {
		got, exit := runs(t, append(append([]string{"fleet", "join"}, args...), "--config", file)...)
		if want := "the center does not answer at https://127.0.0.1:1 ("; exit != 1 || !strings.Contains(got, want) {
			t.Errorf("%q: got exit %d and %q, want %q", args, exit, got, want)
		}
	}
	if got, exit := runs(t, "fleet", "join", "a", "b", "--config", file); exit != 2 {
		t.Errorf("two words: got exit %d and %q, want 2", exit, got)
	}
}

func TestValidateRefusesAStoreThatIsNone(t *testing.T) {
	t.Parallel()
	got, exit := runs(t, "validate", "--config", centerSettings(t, "center: {store: foo}\n"))
	if want := "center.store: foo does not begin with clickhouse://"; exit != 1 || !strings.Contains(got, want) {
		t.Errorf("got exit %d and %q, want exit 1 and %q", exit, got, want)
	}
}

func TestNodesSaysWhetherACenterRuns(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := centerSettings(t, "center: {listen: [\""+l.Addr().String()+"\"], address: [\"https://192.0.2.1\"]}\n")
	if got, exit := runs(t, "center", "invite", "attic", "--config", file); exit != 0 {
		t.Fatal(got)
	}
	const want = "No center runs here"
	if got, _ := runs(t, "center", "nodes", "--config", file); strings.Contains(got, want) {
		t.Errorf("while something answers at center.listen: got %q", got)
	}
	l.Close()
	if got, _ := runs(t, "center", "nodes", "--config", file); !strings.Contains(got, want) {
		t.Errorf("while nothing answers at center.listen: got %q, want %q", got, want)
	}
}
