package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
)

func TestDoctorBeforeTheFirstStartFindsNothingWrong(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	exit := command(context.Background(), []string{"doctor", "--listen-dns", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "a", "data"),
		"--lists-dir", filepath.Join(dir, "a", "lists")}, &out, &out, []string{"XDG_RUNTIME_DIR=" + dir})
	if exit != 0 || strings.Contains(out.String(), "\nwrong ") || strings.Count(out.String(), "made at the first start") != 2 {
		t.Errorf("exit status %d, got\n%s", exit, out.String())
	}
}
