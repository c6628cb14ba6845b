package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// Shells read what is offered from one stream, and pass over the other.
func TestCompletionKeepsItsStreamsApart(t *testing.T) {
	var out, errs bytes.Buffer
	if exit := command(context.Background(), []string{"__complete", "lists", "acc"}, &out, &errs, nil); exit != 0 {
		t.Fatalf("exit status %d: %s", exit, errs.String())
	}
	if !strings.HasPrefix(out.String(), "accept\t") || strings.Contains(out.String(), "Completion ended") {
		t.Errorf("offered: got %q", out.String())
	}
	if !strings.Contains(errs.String(), "Completion ended") {
		t.Errorf("said beside it: got %q", errs.String())
	}
}
