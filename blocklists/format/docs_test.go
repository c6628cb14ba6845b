package format

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocs reads the examples of docs/lists.md: each line in the table of
// meanings, and each key and tier in that of annotations.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/lists.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(text), `\|`, "|")
	span := regexp.MustCompile("`([^`]+)`")

	_, table, _ := strings.Cut(page, "| line | matches |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	lines := 0
	for row := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		if strings.HasPrefix(cell, "`@@`") {
			continue
		}
		for _, m := range span.FindAllStringSubmatch(cell, -1) {
			lines++
			if rules, err := ParseLine(m[1], Options{Own: true}); err != nil || len(rules) == 0 {
				t.Errorf("%s: %d rules, %v", m[1], len(rules), err)
			}
		}
	}
	if lines < 15 {
		t.Errorf("only %d lines found in the table of meanings", lines)
	}

	for _, example := range regexp.MustCompile(`(?m)^    (.*)$`).FindAllStringSubmatch(page, -1) {
		line := example[1]
		if strings.Contains(line, "lists:") || strings.HasPrefix(line, "  ") {
			continue // the configuration
		}
		if _, err := ParseLine(line, Options{Own: true}); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}

	_, table, _ = strings.Cut(page, "| key | value |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for row := range strings.Lines(table) {
		cell, value, _ := strings.Cut(strings.TrimPrefix(row, "| "), " | ")
		for _, m := range span.FindAllStringSubmatch(cell, -1) {
			example := "x"
			if s := span.FindStringSubmatch(value); s != nil && (m[1] == "tier" || m[1] == "until") {
				example = s[1]
			}
			if _, err := ParseLine("a.example #@ "+m[1]+"="+example, Options{}); err != nil {
				t.Errorf("%s: %v", m[1], err)
			}
		}
	}
}
