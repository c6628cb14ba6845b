//go:build e2e

package main

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the minisign program signs is taken, hashed before or not; and a file that it
// would not verify is not taken.
func TestE2EAnEditionSignedByMinisign(t *testing.T) {
	t.Parallel()
	minisign, err := exec.LookPath("minisign")
	if err != nil {
		t.Skip("no minisign (Debian: minisign)")
	}
	published, dir := t.TempDir(), t.TempDir()
	files := http.FileServer(http.Dir(published))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("If-Modified-Since") // a file that changes twice in a second looks unchanged by it
		files.ServeHTTP(w, r)
	}))
	defer web.Close()
	run := func(args ...string) {
		t.Helper()
		c := exec.Command(minisign, args...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("minisign %s: %v\n%s", args, err, out)
		}
	}
	public, secret := filepath.Join(dir, "minisign.pub"), filepath.Join(dir, "minisign.key")
	run("-G", "-W", "-p", public, "-s", secret)
	text, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Split(string(text), "\n")[1]
	archive := filepath.Join(published, "c.zip")
	srv := startTestServer(t, t.TempDir(), netip.AddrPort{}, "catalog: {url: \""+web.URL+"/c.zip\", key: \""+key+"\"}\n")
	for n, legacy := range []bool{false, true} {
		folder := filepath.Join(t.TempDir(), "c")
		if err := writeCatalogue(folder, laterEdition(n+1)); err != nil {
			t.Fatal(err)
		}
		if out, exit := srv.run("catalog", "pack", folder, archive); exit != 0 {
			t.Fatal(out)
		}
		sign := []string{"-S", "-m", archive, "-s", secret, "-t", "an edition of the catalogue"}
		if legacy {
			sign = append(sign, "-l")
		}
		run(sign...)
		run("-V", "-m", archive, "-p", public)
		if out, exit := srv.run("catalog", "update"); exit != 0 || !strings.Contains(out, "updated: edition "+laterEdition(n+1)+" is in force") {
			t.Errorf("legacy %v: exit status %d\n%s", legacy, exit, out)
		}
	}
	f, err := os.OpenFile(archive, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("x")
	f.Close()
	if exec.Command(minisign, "-V", "-m", archive, "-p", public).Run() == nil {
		t.Fatal("minisign verifies what was changed")
	}
	if out, exit := srv.run("catalog", "update"); exit != 1 || !strings.Contains(out, "its signature does not fit") {
		t.Errorf("changed: exit status %d\n%s", exit, out)
	}
}
