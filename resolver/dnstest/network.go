package dnstest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// insideNetwork is set where a test runs in a network of its own.
const insideNetwork = "TELLTALE_E2E_NETWORK"

// InOwnNetwork runs the test in a process with a network of its own, without privileges outside of it, and returns true there.
// Where it returns false, that is done. Where there can be no such network the test is skipped: that is a matter of the machine, not of
// what is installed.
func InOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideNetwork) != "" {
		return true
	}
	self := exec.Command("unshare", "--net", "--map-root-user", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	self.Env = append(os.Environ(), insideNetwork+"=1")
	b, err := self.CombinedOutput()
	out := string(b)
	switch wasSkipped := !strings.Contains(out, "=== RUN") || strings.Contains(out, "--- SKIP"); { // unshare may have failed in many ways
	case wasSkipped:
		t.Skipf("skipped: there can be no network of its own: %v\n%s", err, out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	default:
		t.Log(out)
	}
	return false
}
