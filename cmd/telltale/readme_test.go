package main

import (
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"telltale/bench/zone"
)

// TestREADME runs the commands of README's console blocks, in order, against a
// server with the shipped lists, and compares what they print. Times and the
// port are those of the run, and "..." stands for anything.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	handle, err := zone.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	upstream, stop, err := zone.Serve(netip.MustParseAddrPort("127.0.0.1:0"), handle)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	srv := startTestServer(t, t.TempDir(), upstream, "")
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, example := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			line, want, _ := strings.Cut(example, "\n")
			got := runExample(t, srv, strings.Fields(line))
			if !like(got, want) {
				t.Errorf("$ %s\n%s\nREADME has\n%s", line, got, want)
			}
			ran++
		}
	}
	if ran < 5 {
		t.Errorf("README has only %d examples", ran)
	}
}

func runExample(t *testing.T, srv *testServer, words []string) string {
	t.Helper()
	if words[0] == "telltale" {
		out, exit := srv.run(words[1:]...)
		if exit != 0 {
			t.Errorf("%q: exit status %d", words, exit)
		}
		return out
	}
	if words[0] != "dig" {
		t.Fatalf("no example of %q can be run", words[0])
	}
	if _, err := exec.LookPath("dig"); err != nil {
		skipUnlessCI(t, "dig is not installed (Debian: bind9-dnsutils)")
	}
	for i, w := range words {
		if w == "5300" {
			words[i] = srv.addr.String()[strings.LastIndex(srv.addr.String(), ":")+1:]
		}
	}
	out, err := exec.Command("dig", words[1:]...).CombinedOutput()
	if err != nil {
		t.Errorf("%q: %v", words, err)
	}
	return string(out)
}

// skipUnlessCI skips a test for want of something; in CI nothing skips.
func skipUnlessCI(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// like reports whether got is what an example shows.
func like(got, want string) bool {
	clean := func(s string) string {
		s = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`).ReplaceAllString(s, "TIME")
		return regexp.MustCompile(`[ \t]+`).ReplaceAllString(strings.TrimSpace(s), " ")
	}
	pattern := regexp.QuoteMeta(clean(want))
	pattern = regexp.MustCompile(` ?\\\.\\\.\\\. ?`).ReplaceAllString(pattern, "(?s:.*)")
	return regexp.MustCompile("^" + pattern + "$").MatchString(clean(got))
}
