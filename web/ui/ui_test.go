//go:build !small

package ui

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestFirstLoadIsSmall holds what a browser loads at its first visit.
func TestFirstLoadIsSmall(t *testing.T) {
	const most = 150_000
	var sum int64
	err := fs.WalkDir(Files(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !strings.HasSuffix(path, ".gz") {
			t.Errorf("%s is not compressed: 'make ui' does it", path)
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum == 0 || sum > most {
		t.Errorf("dist has %d octets, wanted are 1 to %d", sum, most)
	}
}

// TestIndexKeepsToThePolicy: a page with a script or style in it would not be shown, and
// an absolute path would not be found behind a proxy.
func TestIndexKeepsToThePolicy(t *testing.T) {
	index := unzipped(t, "index.html.gz")
	for _, wrong := range []string{`<style`, ` style=`, ` onload=`, `src="/`, `href="/`, `http://`, `https://`} {
		if strings.Contains(index, wrong) {
			t.Errorf("index.html has %q", wrong)
		}
	}
	refers := regexp.MustCompile(`(?:src|href)="\./([^"]+)"`).FindAllStringSubmatch(index, -1)
	if len(refers) < 3 {
		t.Errorf("index.html refers to %d files: %q", len(refers), index)
	}
	for _, r := range refers {
		if _, err := fs.Stat(Files(), r[1]+".gz"); err != nil {
			t.Errorf("index.html refers to %s: %v", r[1], err)
		}
	}
	if !regexp.MustCompile(`<script type="module"[^>]*></script>`).MatchString(index) || strings.Count(index, "<script") != 1 {
		t.Error("index.html has another script than the one of its file")
	}
	if !strings.Contains(index, "<noscript>") {
		t.Error("index.html says nothing to browsers without JavaScript")
	}
}

func unzipped(t *testing.T, name string) string {
	t.Helper()
	f, err := Files().Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources returns the texts of the page's own files.
func sources(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir("src", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".svelte", ".ts"}, filepath.Ext(path)) || strings.HasSuffix(path, ".d.ts") {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("%d sources, %v", len(all), err)
	}
	return all
}

// TestNothingIsMadeOfHTML: what strangers wrote is only ever put in as text, and the policy
// allows no style in an element.
func TestNothingIsMadeOfHTML(t *testing.T) {
	never := regexp.MustCompile(`\{@html|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\bstyle=|<style|javascript:`)
	for path, text := range sources(t) {
		if got := never.FindString(text); got != "" {
			t.Errorf("%s has %s", path, got)
		}
	}
}

func texts(t *testing.T, language string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("src", "locales", language))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("%s: %v", language, err)
	}
	return all
}

var (
	literalKey = regexp.MustCompile("\\bt\\(\\s*['\"`]([a-z0-9A-Z.-]+)['\"`]")
	madeKey    = regexp.MustCompile("\\bt\\(\\s*`([a-z0-9A-Z.-]+)\\$\\{")
	chosenKey  = regexp.MustCompile(`\? '([a-z]+\.[a-z.]+)' : '([a-z]+\.[a-z.]+)'`)
	wordGroup  = regexp.MustCompile(`\bword\(\s*'([a-z0-9.]+)'`)
	argument   = regexp.MustCompile(`\{([a-zA-Z]+)[,}]`)
	branch     = regexp.MustCompile(`(zero|one|two|few|many|other|=[0-9]+) $`) // what follows is a text of a plural
)

// TestLanguagesAreComplete: each language has each text that the page asks for, with the
// same values in it, and no other.
func TestLanguagesAreComplete(t *testing.T) {
	files, err := os.ReadDir(filepath.Join("src", "locales"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d languages, %v", len(files), err)
	}
	english := texts(t, "en.json")
	used := map[string]bool{}
	for path, text := range sources(t) {
		for _, m := range literalKey.FindAllStringSubmatch(text, -1) {
			used[m[1]] = true
			if _, ok := english[m[1]]; !ok {
				t.Errorf("%s asks for %s, which English does not have", path, m[1])
			}
		}
		for _, m := range chosenKey.FindAllStringSubmatch(text, -1) {
			used[m[1]], used[m[2]] = true, true
		}
		prefixes := madeKey.FindAllStringSubmatch(text, -1)
		for _, m := range wordGroup.FindAllStringSubmatch(text, -1) {
			prefixes = append(prefixes, []string{"", m[1] + "."})
		}
		for _, m := range prefixes {
			found := false
			for key := range english {
				if strings.HasPrefix(key, m[1]) {
					used[key], found = true, true
				}
			}
			if !found {
				t.Errorf("%s asks for texts that begin with %s, which English does not have", path, m[1])
			}
		}
	}
	for key := range english {
		if !used[key] {
			t.Errorf("no page asks for %s", key)
		}
	}
	for _, f := range files {
		other := texts(t, f.Name())
		for key, text := range english {
			got, ok := other[key]
			if !ok || strings.TrimSpace(got) == "" {
				t.Errorf("%s: %s is missing", f.Name(), key)
				continue
			}
			if have, want := arguments(got), arguments(text); !slices.Equal(have, want) {
				t.Errorf("%s: %s has the values %q, English has %q", f.Name(), key, have, want)
			}
			if strings.Contains(got, ", plural,") && !strings.Contains(got, "other {") {
				t.Errorf("%s: %s has a plural without 'other'", f.Name(), key)
			}
		}
		for key := range other {
			if _, ok := english[key]; !ok {
				t.Errorf("%s: %s is no text of the page", f.Name(), key)
			}
		}
	}
}

// arguments are the values that a message takes.
func arguments(text string) []string {
	var all []string
	for _, at := range argument.FindAllStringSubmatchIndex(text, -1) {
		name := text[at[2]:at[3]]
		if !branch.MatchString(text[:at[0]]) && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
