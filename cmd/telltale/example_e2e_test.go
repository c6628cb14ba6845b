//go:build e2e

package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"telltale/evidence/dispute"
)

// docs/example shows what its commands print of the home that its script makes.
func TestE2EExampleShowsWhatCommandsPrint(t *testing.T) {
	page, err := os.ReadFile("../../docs/example/README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	dir := t.TempDir()
	dispute.Write(t, dir)
	t.Chdir(dir) // where the settings' paths begin
	shown := 0
	for _, block := range blocks {
		for _, one := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			shown++
			line, want, _ := strings.Cut(one, "\n")
			var out bytes.Buffer
			exit := command(context.Background(), fields(line)[1:], &out, &out, []string{"TELLTALE_CONFIG=telltale.yaml"})
			if got := out.String(); exit != 0 || strings.TrimSpace(got) != strings.TrimSpace(want) {
				t.Errorf("$ %s\nexit status %d\n%s\nthe page has\n%s", line, exit, got, want)
			}
		}
	}
	if shown < 5 {
		t.Errorf("the page shows %d commands", shown)
	}
}
