package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale/config"
)

func TestNamesOfListsThatAreMistakes(t *testing.T) {
	dir := t.TempDir()
	lists := filepath.Join(dir, "lists.d")
	if err := os.Mkdir(lists, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"games.txt", "ads.hosts", "notes.old"} {
		save(t, filepath.Join(lists, file), "")
	}
	file := filepath.Join(dir, "telltale.yaml")
	for _, f := range []struct{ text, want string }{
		{"settings: [{name: games}]", ""},
		{"settings: [{name: 'shipped:games'}]", ""},
		{"settings: [{name: xiaomi}, {name: own}, {name: ads}, {name: ads.hosts}]", ""},
		{"settings: [{name: gmaes}]", `telltale.yaml:3: lists.settings[0].name: found "gmaes"; expected the name of a list`},
		{"settings: [{name: gmaes}]", "did you mean games?"},
		{"settings: [{name: notes}]", `lists.settings[0].name: found "notes"`},
		{"settings: [{name: 'shipped:mine'}]", `found "shipped:mine"`},
		{"subscriptions: [{name: far, url: https://a.example/l}]", ""},
		{"subscriptions: [{name: games, url: https://a.example/l}]", "a name that no file of lists.dir has"},
		{"subscriptions: [{name: own, url: https://a.example/l}]", "a name that no file of lists.dir has"},
		{"subscriptions: [{name: xiaomi, url: https://a.example/l}]", "a name that no shipped list has"},
	} {
		save(t, file, "lists:\n  dir: lists.d\n  "+f.text)
		cfg, err := config.Load(file, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", f.text, err)
		}
		err = listNameMistakes(cfg)
		if (err == nil) != (f.want == "") || err != nil && !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s: got %v, want %q", f.text, err, f.want)
		}
	}
}

// The example of docs/lists.md: the schedule is that of the user's own games.txt,
// though a shipped list is called so, too.
func TestTheScheduleOfADocumentIsThatOfTheUsersList(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/lists.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "the time zone of the machine:\n\n")
	example, _, ok2 := strings.Cut(rest, "\n\n")
	if !ok || !ok2 {
		t.Fatal("docs/lists.md has no example of a schedule")
	}
	example = strings.ReplaceAll(example, "\n    ", "\n")
	example = strings.TrimPrefix(example, "    ")
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "lists"), 0o755); err != nil {
		t.Fatal(err)
	}
	save(t, filepath.Join(dir, "lists", "games.txt"), "play.example\n")
	srv := startTestServer(t, dir, everything(t), example)
	found := map[string]string{}
	for _, l := range srv.app.listStatus() {
		found[l.Name] = l.Kind + " " + l.Schedule
	}
	if got, want := found["games"], "user mon-fri 16:00-20:00, sat 10:00-12:00"; got != want {
		t.Errorf("games: got %q, want %q", got, want)
	}
	if got, want := found["shipped:games"], "shipped "; got != want {
		t.Errorf("shipped:games: got %q, want %q", got, want)
	}
	// A name that no list has is refused, until a list has it.
	save(t, filepath.Join(dir, "telltale.yaml"), "blocking: {mode: nxdomain}\nlists: {settings: [{name: later}]}")
	soon(t, "the mistake is told", "true", func() string {
		if strings.Contains(statusOf(t, dir).Settings.Refused, `found "later"`) {
			return "true"
		}
		return statusOf(t, dir).Settings.Refused
	})
	save(t, filepath.Join(dir, "lists", "later.txt"), "later.example\n")
	soon(t, "the settings", "NXDOMAIN", func() string { return srv.answerTo("later.example.", "A") })
}
