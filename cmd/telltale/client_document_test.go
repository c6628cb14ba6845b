package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A client whose types are made of the API's document, and which .ci/ui compiles against them,
// walks the log over the network with a token that may read.
func TestAClientMadeOfTheDocumentWalksTheLog(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node (Debian: nodejs)")
	}
	srv := asked(t, 3)
	if err := srv.with(filepath.Dir(srv.app.cfg.Load().File), "devices: [{name: tv, mac: '02:00:5e:10:00:01'}]\nidentity: {forwarders: ['127.0.0.0/8']}\nweb: {listen: ['127.0.0.1:0']}\n"); err != nil {
		t.Fatal(err)
	}
	srv.app.log.Flush()
	soon(t, "rows", "closed", func() string {
		if _, answer := srv.route(anybody, "/log"); strings.Contains(answer, `"open":true`) || strings.Count(answer, `"id"`) < 9 {
			return answer
		}
		return "closed"
	})
	out, exit := srv.run("token", "add", "walker", "--scope", "read", "--expires", "1d")
	if exit != 0 {
		t.Fatal(out)
	}
	token, _, _ := strings.Cut(out, "\n")
	said, err := exec.CommandContext(t.Context(), node, "../../web/ui/e2e/client.mjs", "http://"+srv.app.network.addrs()[0].String(), token, "3").CombinedOutput()
	var got struct {
		Version string
		IDs     []int64
	}
	if err != nil || json.Unmarshal(said, &got) != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if want := srv.walk("order=oldest", 1000); got.Version != buildVersion() || !slices.Equal(got.IDs, want) {
		t.Errorf("got %s, want %d rows: %s", said, len(want), strconv.Quote(buildVersion()))
	}
}
