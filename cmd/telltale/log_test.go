package main

import "testing"

// The form of rows is what --json or --format says, else what the file's name ends in.
func TestFormsOfRows(t *testing.T) {
	for _, c := range []struct {
		json        bool
		format, out string
		want        string // "" where it fails
	}{
		{false, "", "", "table"}, {true, "", "", "json"}, {false, "json", "", "json"}, {true, "json", "", "json"}, {true, "csv", "", ""}, {true, "table", "", ""},
		{false, "csv", "x.json", "csv"}, {true, "", "x.csv", "json"}, {false, "", "x.csv", "csv"}, {false, "", "x.CSV", "csv"}, {false, "", "x.json", "json"},
		{false, "", "x.jsonl", "json"}, {false, "", "x.ndjson", "json"}, {false, "", "x.txt", "table"}, {false, "xml", "", ""},
	} {
		s, json := logFlags{format: c.format, out: c.out}, c.json
		err := s.check(&json)
		if (err != nil) != (c.want == "") || err == nil && (s.as != c.want || json != (c.want == "json")) {
			t.Errorf("%+v: %q, json: %v, %v", c, s.as, json, err)
		}
	}
	s, json := logFlags{out: "x.csv"}, false
	s.follow = true
	if s.check(&json) == nil {
		t.Error("--follow into a file is taken")
	}
}
