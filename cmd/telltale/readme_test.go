package main

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"telltale/bench/zone"
	"telltale/resolver/dnstest"
)

// pages are those whose console blocks are run.
var pages = []string{
	"README.md", "docs/install.md", "docs/router.md", "docs/reading-the-log.md", "docs/reports.md", "docs/something-broke.md", "docs/moving.md",
}

// TestREADME runs the commands of the pages' console blocks, in order, each page
// against a server of its own with the shipped lists, and compares what they print.
// Times and the port are those of the run, and "..." stands for anything.
func TestREADME(t *testing.T) {
	t.Parallel()
	handle, err := zone.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	upstream, stop, err := zone.Serve(netip.MustParseAddrPort("127.0.0.1:0"), handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	for _, page := range pages {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile("../../" + page)
			if err != nil {
				t.Fatal(err)
			}
			examples := examplesOf(string(text))
			if len(examples) == 0 {
				t.Fatal("no examples")
			}
			srv := startTestServer(t, t.TempDir(), upstream, "")
			if !strings.HasPrefix(examples[0], "dig") { // else the page asks by itself
				if _, err := srv.ask([]string{"data.mistat.xiaomi.com", "A"}); err != nil {
					t.Fatal(err)
				}
			}
			logged := false // a lookup is recorded behind its answer
			for _, example := range examples {
				line, want, _ := strings.Cut(example, "\n")
				if !logged && strings.HasPrefix(line, "telltale ") {
					logged = true
					dnstest.WaitFor(t, func() bool { out, _ := srv.run("log", "--json"); return out != "" }, func() string { return "nothing is in the log" })
				}
				if got := runExample(t, srv, fields(line)); !like(got, want) {
					t.Errorf("$ %s\n%s\n%s has\n%s", line, got, page, want)
				}
			}
		})
	}
}

// examplesOf returns the commands of a page's console blocks, each with the
// output that follows it.
func examplesOf(text string) (all []string) {
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(text, -1) {
		all = append(all, strings.Split("\n"+block[1], "\n$ ")[1:]...)
	}
	return all
}

// TestLinks looks whether what pages link to is there.
func TestLinks(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), link[1])); err != nil {
				t.Errorf("%s links to %s: %v", strings.TrimPrefix(file, "../../"), link[1], err)
			}
		}
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
	if !slices.Contains(words, "-p") {
		words = append(words, "-p", "5300")
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
