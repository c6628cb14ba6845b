package blocklists

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/dnswire"
)

func TestEditOwn(t *testing.T) {
	until := time.Date(2026, 12, 31, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		fact    string
		before  string
		edit    func(path string) error
		after   string
		mistake string // what the error contains
	}{
		{"a rule is added behind the last line", "# mine\nx.example\n",
			func(p string) error { return EditOwn(p, "", Block, name(t, "ads.example"), "", time.Time{}) },
			"# mine\nx.example\nads.example\n", ""},
		{"an annotation of the lines above is not the new rule's", "#@ vendor=Acme until=2020-01-01\r\nads.acme.example\r\n",
			func(p string) error { return EditOwn(p, "", Block, name(t, "ads.example"), "", time.Time{}) },
			"#@ vendor=Acme until=2020-01-01\r\nads.acme.example\r\n#@\r\nads.example\r\n", ""},
		{"an annotation that has ended needs no line", "#@ vendor=Acme\nads.acme.example\n#@\nx.example\n",
			func(p string) error { return EditOwn(p, "", Block, name(t, "ads.example"), "", time.Time{}) },
			"#@ vendor=Acme\nads.acme.example\n#@\nx.example\nads.example\n", ""},
		{"a rule that is replaced keeps its annotation", "#@ vendor=Acme\nads.acme.example\nx.example\n",
			func(p string) error { return EditOwn(p, "", Allow, name(t, "ads.acme.example"), "", time.Time{}) },
			"#@ vendor=Acme\n@@ads.acme.example\nx.example\n", ""},
		{"a last line without an end gets one", "x.example",
			func(p string) error { return EditOwn(p, "", Block, name(t, "ads.example"), "", time.Time{}) },
			"x.example\nads.example\n", ""},
		{"a comment and an end go with the rule", "",
			func(p string) error {
				return EditOwn(p, "", Allow, name(t, "ok.example"), "Anna's\nschool # 3", until)
			},
			"@@ok.example  #@ until=2026-12-31T10:00:00Z  # Anna's school # 3\n", ""},
		{"what says otherwise is replaced where it stands", "# a\nads.example # old\n\n# b\n",
			func(p string) error { return EditOwn(p, "", Allow, name(t, "ads.example"), "", time.Time{}) },
			"# a\n@@ads.example\n\n# b\n", ""},
		{"all of it is replaced", "||ads.example^\nx.example\n@@=ads.example\n0.0.0.0 ads.example\n",
			func(p string) error { return EditOwn(p, "", Block, name(t, "ads.example"), "", time.Time{}) },
			"ads.example\nx.example\n", ""},
		{"other names, conditions and records stay", "x.ads.example\n||ads.example^$dnstype=A\n192.168.1.9 ads.example\nexample\n",
			func(p string) error { return EditOwn(p, "", Block, name(t, "ads.example"), "", time.Time{}) },
			"x.ads.example\n||ads.example^$dnstype=A\n192.168.1.9 ads.example\nexample\nads.example\n", ""},
		{"line ends are kept", "x.example\r\n",
			func(p string) error { return EditOwn(p, "", Block, name(t, "ads.example"), "", time.Time{}) },
			"x.example\r\nads.example\r\n", ""},
		{"a rule for a client leaves the rule for all", "ads.example\n",
			func(p string) error { return EditOwn(p, "Kid's TV", Allow, name(t, "ads.example"), "", time.Time{}) },
			"ads.example\n@@||ads.example^$client='Kid\\'s TV'\n", ""},
		{"a rule for a client is replaced", "@@||ads.example^$client='TV'\n",
			func(p string) error { return EditOwn(p, "tv", Block, name(t, "ads.example"), "", time.Time{}) },
			"||ads.example^$client='tv'\n", ""},
		{"a line with more names is left to its author", "0.0.0.0 ads.example other.example\n",
			func(p string) error { return EditOwn(p, "", Allow, name(t, "ads.example"), "", time.Time{}) },
			"0.0.0.0 ads.example other.example\n", "line 1: holds this name together with others"},
		{"a rule for the root is refused", "",
			func(p string) error { return EditOwn(p, "", Block, name(t, "."), "", time.Time{}) }, "", "every name"},
		{"removal takes the rule and nothing else", "# a\nads.example # why\n@@ads.example\nx.ads.example\n",
			func(p string) error { _, err := RemoveOwn(p, "", name(t, "ads.example")); return err },
			"# a\nx.ads.example\n", ""},
	} {
		t.Run(c.fact, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "own.txt")
			write(t, path, c.before)
			err := c.edit(path)
			if c.mistake == "" && err != nil || c.mistake != "" && (err == nil || !strings.Contains(err.Error(), c.mistake)) {
				t.Errorf("error: got %v, want %q", err, c.mistake)
			}
			got, err := os.ReadFile(path)
			check(t, err)
			if string(got) != c.after {
				t.Errorf("got %q, want %q", got, c.after)
			}
		})
	}
}

func TestEditOwnKeepsLinksAndModes(t *testing.T) {
	real, dir := filepath.Join(t.TempDir(), "real.txt"), t.TempDir()
	write(t, real, "x.example\n")
	check(t, os.Chmod(real, 0o640))
	link := filepath.Join(dir, "own.txt")
	check(t, os.Symlink(real, link))
	check(t, EditOwn(link, "", Block, name(t, "ads.example"), "", time.Time{}))
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is no link any more")
	}
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode: got %v", info.Mode())
	}
	left, err := os.ReadDir(filepath.Dir(real))
	check(t, err)
	if len(left) != 1 {
		t.Errorf("files left over: %v", left)
	}
}

func TestEditOwnMakesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.txt")
	check(t, EditOwn(path, "", Block, name(t, "ads.example"), "", time.Time{}))
	s := loaded(t, Options{Dir: filepath.Dir(path)})
	if got, want := s.says(t, "x.ads.example"), "block own ads.example"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzEditOwn holds that an edit changes no line that it does not have to, and
// that removing the rule again leaves what was there.
func FuzzEditOwn(f *testing.F) {
	f.Add("# mine\nads.example\n@@x.example # why\r\n192.168.1.9 nas.lan nas\n", "ads.example", "a comment", true)
	f.Add("\xef\xbb\xbfads.example", "other.example", "#@ vendor=x", false)
	f.Add("#@ vendor=x\nads.example", "other.example", "", false)
	f.Fuzz(func(t *testing.T, text, ask, comment string, allow bool) {
		n, err := dnswire.ParseName(ask)
		if err != nil || n.Labels() == 0 {
			return
		}
		path := filepath.Join(t.TempDir(), "own.txt")
		write(t, path, text)
		action := Block
		if allow {
			action = Allow
		}
		before := newOwnText([]byte(text))
		if _, err := before.remove("", &n); err != nil {
			return
		}
		if EditOwn(path, "", action, &n, comment, time.Time{}) != nil {
			return
		}
		if _, err := RemoveOwn(path, "", &n); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		check(t, err)
		want := strings.Join(before.lines, "")
		// A last line without an end was given one, and an annotation an end.
		g := string(got)
		for _, end := range []string{"#@\r\n", "#@\n"} {
			if rest, ok := strings.CutSuffix(g, end); ok && !strings.HasSuffix(want, end) {
				g = rest
			}
		}
		if g != want && g != want+"\n" && g != want+"\r\n" {
			t.Errorf("got %q, want %q", g, want)
		}
	})
}

func TestRemovingARuleOfAnotherClientSaysForWhomThereIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.txt")
	ads := name(t, "ads.example")
	check(t, EditOwn(path, "tv", Allow, ads, "", time.Time{}))
	_, err := RemoveOwn(path, "", ads)
	var others *OtherClientsError
	if !errors.As(err, &others) || !slices.Equal(others.Clients, []string{"tv"}) {
		t.Errorf("got %v", err)
	}
	if n, err := RemoveOwn(path, "", name(t, "other.example")); n != 0 || err != nil {
		t.Errorf("a name without a rule: got %d, %v", n, err)
	}
	if n, err := RemoveOwn(path, "tv", ads); n != 1 || err != nil {
		t.Errorf("with the client: got %d, %v", n, err)
	}
}
