package subscribe

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// signed serves a text, and beside it what stands for its signature.
func signed(content, signature string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/c.zip":
			text(content)(w, r)
		case "/c.zip.minisig":
			if signature == "" {
				http.NotFound(w, r)
				return
			}
			fmt.Fprint(w, signature)
		default:
			http.NotFound(w, r)
		}
	}
}

// readSigned takes a text for signed where the signature is the key and the text.
func readSigned(path string, l List) (Content, error) {
	f, err := os.Open(path)
	if err != nil {
		return Content{}, err
	}
	defer f.Close()
	size, signature, err := SplitSigned(f)
	if err != nil {
		return Content{}, err
	}
	text := make([]byte, size)
	if _, err := f.ReadAt(text, 0); err != nil && size > 0 {
		return Content{}, err
	}
	if string(signature) != l.Key+string(text) {
		return Content{}, errors.New("its signature does not fit")
	}
	c := Content{Rules: strings.Count(string(text), "\n")}
	if strings.Contains(string(text), "old") {
		c.Problem = "is old"
	}
	if strings.Contains(string(text), "small") {
		c.Refusal = "is small"
	}
	return c, nil
}

func TestASignedListIsReplacedOnlyByASignedOne(t *testing.T) {
	p := publish(t, signed("one\ntwo\n", "Kone\ntwo\n"))
	s := subscribed(t, p.URL+"/c.zip?x=1", func(o *Options) { o.Read, o.Lists[0].Key = readSigned, "K" })
	if got := refreshed(t, s); got.Outcome != Updated || got.Rules != 2 {
		t.Fatalf("got %+v, want 2 rules", got)
	}
	first := copyOf(t, s)
	if got := refreshed(t, s); got.Outcome != Unchanged {
		t.Errorf("asked again: got %+v, want unchanged", got)
	}
	for _, c := range []struct {
		what, content, signature string
		outcome                  Outcome
		why                      string
	}{
		{"another's signature", "one\ntwo\nthree\n", "Jone\ntwo\nthree\n", Failed, "its signature does not fit"},
		{"the signature of before", "one\ntwo\nthree\n", "Kone\ntwo\n", Failed, "its signature does not fit"},
		{"none", "one\ntwo\nthree\n", "", Failed, "c.zip.minisig?x=1: the server says 404"},
		{"a long one", "one\ntwo\nthree\n", strings.Repeat("x", maxSignature+1), Failed, "is longer than 4096 bytes"},
		{"what can never be put in force", "an old one\n", "Kan old one\n", HeldBack, "is old"},
		{"what waits", "a small one\n", "Ka small one\n", HeldBack, "is small"},
	} {
		p.now(signed(c.content, c.signature))
		if got := refreshed(t, s); got.Outcome != c.outcome || got.Err == nil || !strings.Contains(got.Err.Error(), c.why) {
			t.Errorf("%s: got %+v, want %v, %q", c.what, got, c.outcome, c.why)
		}
		if copyOf(t, s) != first {
			t.Fatalf("%s: the copy was replaced", c.what)
		}
		if c.why == "is old" {
			if err := s.Accept("ads"); err == nil {
				t.Error("what can never be put in force was accepted")
			}
		}
	}
	if err := s.Accept("ads"); err != nil {
		t.Fatal(err)
	}
	if got := copyOf(t, s); !strings.HasPrefix(got, "a small one\nKa small one\n") {
		t.Errorf("got %q after it was accepted", got)
	}
}

// A copy that another key signed is no copy for this one: it is fetched again, though
// the server says that nothing has changed.
func TestAnotherKeyMakesItAnotherList(t *testing.T) {
	p := publish(t, signed("one\n", "Kone\n"))
	s := subscribed(t, p.URL+"/c.zip", func(o *Options) { o.Read, o.Lists[0].Key = readSigned, "K" })
	refreshed(t, s)
	for _, restarted := range []bool{false, true} {
		key := map[bool]string{false: "L", true: "M"}[restarted]
		lists := []List{{Name: "ads", URL: p.URL + "/c.zip", Key: key, Enabled: true}}
		if restarted {
			o := s.Options
			o.Lists = lists
			var err error
			if s, err = New(o); err != nil {
				t.Fatal(err)
			}
		} else {
			s.Set(lists)
		}
		if files := s.Files(); len(files) != 0 {
			t.Errorf("restarted %v: got a copy that another key signed: %v", restarted, files)
		}
		p.now(signed("one\n", key+"one\n"))
		if got := refreshed(t, s); got.Outcome != Updated || len(s.Files()) != 1 {
			t.Errorf("restarted %v: got %+v, want it again", restarted, got)
		}
	}
}

func TestWhatHasNoSignatureIsNotSplit(t *testing.T) {
	for _, text := range []string{"", "abc", "\x00\x00\x00\x09", "abc\x00\x00\x00\x04", "abcd\xff\xff\xff\xff", strings.Repeat("x", 5000) + "\x00\x00\x10\x01"} {
		path := t.TempDir() + "/f"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if size, signature, err := SplitSigned(f); err == nil {
			t.Errorf("%q: got %d octets and %q", text, size, signature)
		}
		f.Close()
	}
}
