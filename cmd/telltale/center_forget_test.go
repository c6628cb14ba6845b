//go:build !small

package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale/config"
	"telltale/fleet"
	"telltale/fleet/authority"
	"telltale/fleet/clickhouse/servertest"
	"telltale/querylog"
)

func TestACenterForgetsADeviceAndANode(t *testing.T) {
	t.Parallel()
	sqlite, elsewhere := mergedLogs(t, servertest.Start(t, servertest.Options{}))
	for i, file := range []string{sqlite, elsewhere} {
		rows := func(args ...string) string {
			t.Helper()
			out, exit := runs(t, append(append([]string{"log", "--all-nodes", "--json", "--since", "10d"}, args...), "--config", file)...)
			if exit != 0 {
				t.Fatal(out)
			}
			return out
		}
		if out, exit := runs(t, "center", "forget", "attic", "--config", file); exit != 1 || !strings.Contains(out, "--yes") {
			t.Errorf("without --yes: exit %d: %s", exit, out)
		}
		if out, exit := runs(t, "center", "forget", "attic", "--device", "x", "--config", file); exit != 2 {
			t.Errorf("a node and a device: exit %d: %s", exit, out)
		}
		end := func() {}
		if i == 0 { // a center runs: nobody else may write to its log
			cl := &cli{}
			cl.root = cl.newRoot()
			cl.root.ParseFlags([]string{"--config", file})
			cfg, err := cl.load()
			if err != nil {
				t.Fatal(err)
			}
			c := &center{cfg: cfg, logger: slog.New(slog.DiscardHandler), live: fleet.NewLiveHub()}
			if c.authority, err = authority.Open(t.TempDir(), time.Now); err != nil {
				t.Fatal(err)
			}
			if c.store, err = c.openStore(t.Context()); err != nil {
				t.Fatal(err)
			}
			endCommands, err := c.serveCommands()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.serveCommands(); err == nil {
				t.Error("a second center answers on the same socket")
			}
			endFollowing := follows(t, file) // who follows the merged log does not hold it
			end = func() { endFollowing(); endCommands(); c.store.Close() }
		}
		if out, exit := runs(t, "center", "forget", "--device", "device 2", "--yes", "--config", file); exit != 0 || !strings.HasPrefix(out, "6 rows") {
			t.Errorf("exit %d: %s", exit, out)
		}
		if got := rows("--name", "viewing"); got != "" && !strings.HasPrefix(got, "no rows") {
			t.Errorf("rows of the device are there: %s", got)
		}
		if got := rows(); !strings.Contains(got, `"node":"attic"`) || !strings.Contains(got, `"node":"cellar"`) {
			t.Errorf("rows of another device are gone: %s", got)
		}
		if out, exit := runs(t, "center", "forget", "atic", "--yes", "--config", file); exit != 1 || !strings.Contains(out, `no node "atic" has sent anything`) {
			t.Errorf("a node that there is not: exit %d: %s", exit, out)
		}
		if out, exit := runs(t, "center", "forget", "attic", "--yes", "--json", "--config", file); exit != 0 || strings.TrimSpace(out) != `{"rows":6}` {
			t.Errorf("exit %d: %s", exit, out)
		}
		if got := rows(); strings.Contains(got, `"node":"attic"`) || !strings.Contains(got, `"node":"cellar"`) {
			t.Errorf("got rows %s, want those of the cellar alone", got)
		}
		if out, exit := runs(t, "center", "forget", "--device", "nobody", "--yes", "--config", file); exit != 1 {
			t.Errorf("a device that there is not: exit %d: %s", exit, out)
		}
		end()
	}
}

// follows has somebody follow the merged log of a center that runs, once all that is in it was printed.
func follows(t *testing.T, file string) (end func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var out, errs lockedBuffer
	var following sync.WaitGroup
	following.Go(func() {
		if exit := command(ctx, []string{"log", "--follow", "--all-nodes", "--since", "10d", "--config", file}, &out, &errs, nil); exit != 0 {
			t.Errorf("exit %d: %s", exit, errs.String())
		}
	})
	for stopAt := time.Now().Add(patience); strings.Count(out.String(), "\n") < 12; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(stopAt) {
			t.Fatalf("what is in the merged log is not printed:\n%s%s", out.String(), errs.String())
		}
	}
	return func() { stop(); following.Wait() }
}

func TestWhereNoCenterKeptALogNothingIsForgottenAndNothingMade(t *testing.T) {
	t.Parallel()
	srv := servertest.Start(t, servertest.Options{})
	for center, want := range map[string]string{
		"": "no center has kept a log there",
		`, store: "clickhouse://` + srv.Host + `/merged"`: "no center has kept one there yet",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "telltale.yaml")
		writeFile(t, file, "data: {dir: "+dir+"}\nlists: {dir: "+filepath.Join(dir, "lists.d")+"}\ncenter: {dir: "+filepath.Join(dir, "center")+center+"}\n")
		for range 2 { // the second time, too: the first made nothing
			if out, exit := runs(t, "center", "forget", "attic", "--yes", "--config", file); exit != 1 || !strings.Contains(out, want) {
				t.Errorf("exit %d: %s, want 1 and %q", exit, out, want)
			}
		}
		if made, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(made) != 1 {
			t.Errorf("there is %v (%v), want the settings alone", made, err)
		}
	}
}

func TestANodeKeepsWhatItsCenterIsToForget(t *testing.T) {
	t.Parallel()
	cl := &cli{}
	cl.root = cl.newRoot()
	cl.root.ParseFlags([]string{"--data-dir", t.TempDir()})
	cfg, err := cl.load()
	if err != nil {
		t.Fatal(err)
	}
	f := &forgetting{Devices: []querylog.DeviceSpan{{Device: "mac:02:00:00:00:00:01"}}, Words: []string{"tv"}}
	if err := leaveToCenter(cfg, f, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got, _, err := nextForgotten(cfg); got != nil || err != nil {
		t.Errorf("a machine that is no node keeps %+v (%v)", got, err)
	}
	joinedAs(t, identityDir(cfg), "attic")
	for n := range 2 {
		if err := leaveToCenter(cfg, f, time.Unix(int64(n), 0)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 2 {
		got, done, err := nextForgotten(cfg)
		if err != nil || got == nil || !got.At.Equal(time.Unix(int64(n), 0)) || len(got.Devices) != 1 || got.Words[0] != "tv" {
			t.Fatalf("got %+v, %v", got, err)
		}
		if err := done(); err != nil {
			t.Fatal(err)
		}
	}
	if got, _, err := nextForgotten(cfg); got != nil || err != nil {
		t.Errorf("it is told again: %+v (%v)", got, err)
	}
}

// A directory's name may have any signs in it, and one that cannot be read is said.
func TestWhatTheCenterIsToForgetIsFoundInEveryDirectory(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{}
	cfg.Data.Dir = filepath.Join(t.TempDir(), "tell[tale]")
	joinedAs(t, identityDir(cfg), "attic")
	if err := leaveToCenter(cfg, &forgetting{Devices: []querylog.DeviceSpan{{Device: "mac:02:00:00:00:00:01"}}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got, _, err := nextForgotten(cfg); got == nil || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := removeForgotten(cfg); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(forgottenDir(cfg), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := nextForgotten(cfg); err == nil {
		t.Error("what is no directory is read without an error")
	}
}
