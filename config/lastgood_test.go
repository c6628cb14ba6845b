package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Each line is a way in which settings that worked break.
func TestTheSettingsThatWorkedLastAreFound(t *testing.T) {
	good := "data: {dir: data}\nnode: good\n"
	for _, f := range []struct {
		name  string
		spoil func(t *testing.T, dir, file string)
	}{
		{"a mistake", func(t *testing.T, dir, file string) { writeFile(t, file, "lists: {dir: lists.d}\n"+good+"nod: x") }},
		{"no YAML behind data.dir", func(t *testing.T, dir, file string) { writeFile(t, file, good+"a: [\n") }},
		{"no YAML before data.dir", func(t *testing.T, dir, file string) {
			writeFile(t, file, "a: [\nb: }\n\ndata:\n  # where\n  dir: data\nc: {\n")
		}},
		{"an overlay of nonsense", func(t *testing.T, dir, file string) {
			writeFile(t, filepath.Join(dir, "lists.d", OverlayName), "\x00\x01")
		}},
		{"everybody may write", func(t *testing.T, dir, file string) { os.Chmod(file, 0o666) }},
	} {
		dir, file := settingsDir(t, good)
		c, err := Load(file, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		kept := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
		if err := c.KeepAsLastGood(kept); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(dir, "data", LastGoodName)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: got mode %v, %v, want 0600", f.name, info.Mode(), err)
		}
		f.spoil(t, dir, file)
		if c, err := Load(file, nil, nil); err == nil {
			t.Errorf("%s: got %+v from Load, want a mistake", f.name, c)
		}
		got, err := LoadLastGood(file, nil, nil, "")
		if f.name == "everybody may write" { // then not even data.dir is read from it
			if !errors.Is(err, ErrNoLastGood) {
				t.Errorf("%s: got %v", f.name, err)
			}
			got, err = LoadLastGood(file, nil, []string{"TELLTALE_DATA_DIR=" + filepath.Join(dir, "data")}, "")
		}
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		if got.Node != "good" || !got.LastGood.Equal(kept) || got.Lists.Dir != filepath.Join(dir, "lists.d") {
			t.Errorf("%s: got %+v", f.name, got)
		}
	}
}

func TestSettingsOfAnotherFileAreNotTaken(t *testing.T) {
	dir, file := settingsDir(t, "data: {dir: data}\nnode: good\n")
	c, err := Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadLastGood(file, nil, nil, ""); !errors.Is(err, ErrNoLastGood) {
		t.Errorf("before anything is kept: got %v", err)
	}
	if err := c.KeepAsLastGood(time.Now()); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.yaml")
	writeFile(t, other, "data: {dir: data}\nnod: x\n")
	if c, err := LoadLastGood(other, nil, nil, ""); !errors.Is(err, ErrNoLastGood) {
		t.Errorf("got %v, %v", c, err)
	}
	kept := filepath.Join(dir, "data", LastGoodName)
	writeFile(t, kept, "{")
	if c, err := LoadLastGood(file, nil, nil, ""); err == nil || !strings.Contains(err.Error(), LastGoodName) {
		t.Errorf("damaged: got %v, %v", c, err)
	}
}

func TestSettingsThatOthersCouldReplaceAreRefused(t *testing.T) {
	for _, f := range []struct {
		name string
		mode os.FileMode
		in   string // what has the mode: the file's directory, or the one above
		want string
	}{
		{"a directory that everybody may write to", 0o777, ".", "everybody may replace it, since everybody may write to"},
		{"one above it", 0o777, "..", "everybody may replace it"},
		{"a sticky one, and the file is ours", os.ModeSticky | 0o777, ".", ""},
		{"the group may", 0o775, ".", ""},
	} {
		dir := filepath.Join(t.TempDir(), "a", "b")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "telltale.yaml")
		writeFile(t, file, "node: x")
		if err := os.Chmod(filepath.Join(dir, f.in), f.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file, nil, nil)
		if (err == nil) != (f.want == "") || err != nil && !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s: got %v, want %q", f.name, err, f.want)
		}
	}
}

func TestAPasswordIsNotPrinted(t *testing.T) {
	for _, text := range []string{
		"lists: {subscriptions: [{name: a, url: 'https://user:pa ss/w@rd@a.example/l'}]}",
		"upstreams: ['https://user:secret@a.example/']",
		"blocking: {ttl: 'https://user:secret@a.example/'}",
		"'https://user:secret@a.example/': 1",
		"lists: {subscriptions: [{name: 'https://user:secret@a.example/', url: x}]}",
		"? ['https://user:secret@a.example/']\n: 1",
		"lists: {subscriptions: [{name: a, url: '" + strings.Repeat("x", 70) + "//user:secret" + strings.Repeat("x", 70) + "@a.example/'}]}",
		"https://user:secret@a.example/",
	} {
		_, err := load(t, text)
		if err == nil {
			t.Errorf("%s: no mistake", text)
			continue
		}
		for _, word := range []string{"secret", "pa ss", "w@rd", "user"} {
			if strings.Contains(strings.ReplaceAll(err.Error(), "without a user and password", ""), word) {
				t.Errorf("%s: got %s", text, err)
			}
		}
	}
	_, err := build("", nil, nil, []string{"TELLTALE_UPSTREAMS=https://user:secret@a.example"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a variable: got %v", err)
	}
}
