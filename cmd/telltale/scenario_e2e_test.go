//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Scenarios like those of TestScenarios, without the race detector: what takes long, and small ones
// of one feature each, which say what is broken when it is.
func TestE2EScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*_scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			runScenario(t, file, string(text))
		})
	}
}
