package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestJSONControlsNoTerminal(t *testing.T) {
	for _, text := range []string{
		"plain, Gerät, 日本語, 🙂", "C1: \u009b31m red \u0085 \u0080", "DEL: \u007f", "bidi: \u202e\u2066abc\u2069 \u200f \u061c",
		"zero width: \u200b\u200d \ufeff", "tags: \U000e0041", "C0: \x1b[31m \x00 \r", "lines: \u2028 \u2029", "soft hyphen: \u00ad",
	} {
		var b bytes.Buffer
		cl := &cli{out: &b}
		if err := cl.encoder().Encode(map[string]string{"k": text}); err != nil {
			t.Fatal(err)
		}
		for _, r := range strings.TrimSuffix(b.String(), "\n") {
			if !strconv.IsPrint(r) {
				t.Errorf("%q: got %U raw in %q", text, r, b.String())
			}
		}
		var back map[string]string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["k"] != text {
			t.Errorf("got %q back, %v, want %q", back["k"], err, text)
		}
	}
}

func FuzzJSONWriter(f *testing.F) {
	f.Add([]byte(`{"a":"\u202e"}`), 3)
	f.Add([]byte("\xc2\x9b\xe2\x80\xae\xf3\xa0\x81\x81"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if !utf8.Valid(b) { // encoding/json writes nothing else
			t.Skip()
		}
		var whole, parts bytes.Buffer
		(&jsonWriter{out: &whole}).Write(b)
		w := &jsonWriter{out: &parts}
		cut = max(0, min(cut, len(b)))
		w.Write(b[:cut])
		w.Write(b[cut:])
		if whole.String() != parts.String() {
			t.Errorf("got %q in parts, %q at once", parts.String(), whole.String())
		}
	})
}

// Every command prints JSON through the one encoder.
func TestJSONIsPrintedInOneWay(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "json.NewEncoder(cl.out)") && path != "json_test.go" {
			t.Errorf("%s prints JSON past cli.encoder", path)
		}
	}
}
