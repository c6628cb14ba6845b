package main

import (
	"bytes"
	"encoding/csv"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/querylog"
	"telltale/web"
)

// Every key of a row's JSON is a column, and columns stay where they are.
func TestRowsAsCSVHaveEachKey(t *testing.T) {
	var names []string
	for _, c := range rowColumns {
		names = append(names, c.name)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[querylog.Row](), reflect.TypeFor[web.CorrectedRow]()} {
		for i := range of.NumField() {
			key, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if of == reflect.TypeFor[web.CorrectedRow]() {
				key = "corrected_" + key
			}
			if !slices.Contains(names, key) {
				t.Errorf("%s is no column", key)
			}
		}
	}
	const first = "time last count attempts attempts_as_lookups node device device_name corrected_device corrected_name client mac client_id binding binding_source binding_confidence " +
		"name alias type verdict reason observed_by list line rule vendor product purpose tier region breaks source confidence independent contested attribution attribution_list attribution_line " +
		"rcode answered_from upstream transport ttl elapsed folded open store id"
	if got := strings.Join(names, " "); !strings.HasPrefix(got, first) {
		t.Errorf("columns were renamed or moved: %s", got)
	}
}

// What others chose is no formula and controls no terminal, and each line has as many
// fields as the first.
func TestRowsAsCSVAreText(t *testing.T) {
	var b bytes.Buffer
	print, flush := rowsCSV(&b)
	at := querylog.Time{Time: time.Unix(1e9, 0)}
	evil := "=cmd|'/c calc'!\x1b[31m\u202e\",\n;@x"
	for _, r := range []querylog.Row{{Time: at, Name: evil, Rule: evil, DeviceName: "@" + evil}, {Time: at, Name: "a.example", Count: 7, ID: 9}} {
		if err := print(&web.Row{Row: r, Corrected: &web.CorrectedRow{Device: "mac:1", Name: "-" + evil}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e") {
		t.Errorf("a control character in %q", b.String())
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(lines) != 3 {
		t.Fatalf("got %d lines, %v", len(lines), err)
	}
	for _, field := range lines[1] {
		if field != "" && strings.ContainsAny(field[:1], "=+-@") {
			t.Errorf("%q is a formula", field)
		}
	}
	name, id := slices.Index(lines[0], "name"), slices.Index(lines[0], "id")
	if lines[2][name] != "a.example" || lines[2][id] != "9" || !strings.Contains(lines[1][name], "calc") {
		t.Errorf("got %q", lines)
	}
}

// A progressBar shows how far it is, at most five times a second, and takes itself away.
func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := &progressBar{out: &b, what: "Writing", last: time.Now().Add(time.Hour)}
	p.show(0.25, "soon")
	if p.end(); b.Len() > 0 {
		t.Errorf("shown at once: %q", b.String())
	}
	p.last = time.Time{}
	p.show(0.5, "7 rows")
	if got, want := b.String(), "\rWriting [############            ]  50 %  7 rows"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.last = time.Time{}
	p.show(7, "")
	if got := b.String(); !strings.Contains(got, "[########################] 100 %") {
		t.Errorf("more than all: %q", got)
	}
	b.Reset()
	if p.end(); strings.TrimSpace(b.String()) != "" || !strings.HasSuffix(b.String(), "\r") {
		t.Errorf("left at the end: %q", b.String())
	}
	(*progressBar)(nil).show(1, "")
	(*progressBar)(nil).end()
	if p := (&cli{err: io.Discard}).newProgress("x"); p != nil {
		t.Error("shown where nobody sees it")
	}
}
