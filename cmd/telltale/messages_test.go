package main

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale/config"
	"telltale/web"
)

func TestALogThatIsNotThereSaysHowToNameAnother(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	exit := command(context.Background(), []string{"log", "--data-dir", filepath.Join(dir, "none")}, &out, &out, []string{"XDG_RUNTIME_DIR=" + dir})
	if exit != 1 || !strings.Contains(out.String(), "--config or --data-dir") {
		t.Errorf("exit status %d, got\n%s", exit, out.String())
	}
}

func TestMistakesInTheSettingsAreFoundOnceAndEachOnALine(t *testing.T) {
	d := &doctor{}
	d.finds(stateWrong, "settings-invalid", "", "a\x1b\nb", "")
	server := &doctor{}
	for _, why := range []string{"a\x1b\nb", "another file's"} {
		server.itself(t.Context(), &facts{cfg: &config.Config{}, status: &web.Status{Settings: web.Settings{Refused: why}}})
	}
	d.take(slices.DeleteFunc(server.findings, func(f web.Finding) bool { return f.What == "server" }))
	if len(d.findings) != 2 {
		t.Fatalf("got %d findings, want 2: %v", len(d.findings), d.findings)
	}
	if got, want := findingText(&d.findings[0], 3), "those on disk are not in force: a?\n   b\n   To do: correct the file: it comes in force when it is saved"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
