package format

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden reads a list of each format and compares rules and report with
// what was looked at by a person once.
func TestGolden(t *testing.T) {
	lists, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(lists) == 0 {
		t.Fatalf("no lists in testdata: %v", err)
	}
	for _, file := range lists {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			o := Options{Location: time.UTC}
			if strings.Contains(file, "regex") {
				o.Format = "regex"
			}
			got := golden(text, o)
			name := strings.TrimSuffix(file, ".txt") + ".golden"
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			o.general = true
			if slow := golden(text, o); slow != got {
				t.Errorf("the general path reads\n%s\nthe fast path\n%s", slow, got)
			}
			readBack(t, text, o)
		})
	}
}

// golden writes a list's rules, its bad lines and its counts.
func golden(text []byte, o Options) string {
	var b strings.Builder
	report := Parse(bytes.NewReader(text), o, func(r *Rule) { writeRule(&b, r) })
	for _, bad := range report.Bad {
		fmt.Fprintf(&b, "%v\n    %s\n", bad, bad.Text)
	}
	fmt.Fprintf(&b, "%s: %d lines, %d rules, %d bad, %d ignored, declared %d\n",
		report.Content, report.Lines, report.Rules, report.BadTotal, report.Ignored, report.Declared)
	return b.String()
}
