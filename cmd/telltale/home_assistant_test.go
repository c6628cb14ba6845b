package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// templates are those of docs/home-assistant.md, and what Home Assistant makes of an answer
// by them.
var templates = map[string]func(answer []byte) (any, error){
	"{{ value_json | default([], true) | sum(attribute='blocked') }}": func(answer []byte) (any, error) {
		var lines []struct{ Blocked *int }
		sum := 0
		err := json.Unmarshal(answer, &lines)
		for _, l := range lines {
			sum += *l.Blocked
		}
		return sum, err
	},
	"{{ value_json.temporary | selectattr('kind', 'eq', 'pause') | list | count > 0 }}": func(answer []byte) (any, error) {
		var status struct{ Temporary []struct{ Kind string } }
		err := json.Unmarshal(answer, &status)
		paused := false
		for _, t := range status.Temporary {
			paused = paused || t.Kind == "pause"
		}
		return paused, err
	},
}

// What docs/home-assistant.md has Home Assistant call does what the page says, with a token.
func TestHomeAssistantsSettings(t *testing.T) {
	page, err := os.ReadFile("../../docs/home-assistant.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ := strings.Cut(rest, "```")
	type state struct {
		Name     string
		Template string `yaml:"value_template"`
	}
	var settings struct {
		Rest []struct {
			Resource string
			Headers  map[string]string
			Sensor   []state
			Binary   []state `yaml:"binary_sensor"`
		}
		Commands map[string]struct {
			URL, Method, Payload string
			Type                 string `yaml:"content_type"`
			Headers              map[string]string
		} `yaml:"rest_command"`
	}
	if err := yaml.Unmarshal([]byte(text), &settings); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "tracker.example\n")
	srv := startTestServer(t, dir, everything(t), "web: {listen: [\"127.0.0.1:0\"]}\n")
	tokens := map[string]string{}
	for _, scope := range []string{"read", "rules"} {
		out, exit := srv.run("token", "add", "home-assistant-"+scope, "--scope", scope, "--expires", "365d")
		if exit != 0 {
			t.Fatal(out)
		}
		tokens[scope], _, _ = strings.Cut(out, "\n")
	}
	call := func(scope, method, url, contentType, payload string, headers map[string]string) (int, []byte) {
		t.Helper()
		r, err := http.NewRequest(strings.ToUpper(method), strings.Replace(url, "192.168.1.2:5380", srv.app.network.addrs()[0].String(), 1), strings.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range headers {
			if value != "telltale_token" {
				t.Errorf("%s: header %s is %q", url, name, value)
			}
			r.Header.Set(name, "Bearer "+tokens[scope])
		}
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	states := func(scope string) map[string]any {
		t.Helper()
		all := map[string]any{}
		for _, r := range settings.Rest {
			status, body := call(scope, "get", r.Resource, "", "", r.Headers)
			if status != http.StatusOK {
				t.Fatalf("%s: %d %s", r.Resource, status, body)
			}
			for _, s := range append(r.Sensor, r.Binary...) {
				of := templates[s.Template]
				if of == nil {
					t.Fatalf("%s: a template that is not tested: %s", s.Name, s.Template)
				}
				if all[s.Name], err = of(body); err != nil {
					t.Fatalf("%s: %v of %s", s.Name, err, body)
				}
			}
		}
		return all
	}
	command := func(scope, name string) int {
		t.Helper()
		c, ok := settings.Commands[name]
		if !ok {
			t.Fatalf("no command %s", name)
		}
		status, _ := call(scope, c.Method, c.URL, c.Type, c.Payload, c.Headers)
		return status
	}
	if got := states("read"); len(got) != 2 || got["Telltale blocked today"] != 0 || got["Telltale paused"] != false {
		t.Errorf("at first: got %v", got)
	}
	srv.answerTo("tracker.example.", "A")
	soon(t, "what was blocked", "1", func() string {
		text, _ := json.Marshal(states("read")["Telltale blocked today"])
		return string(text)
	})
	if status := command("read", "telltale_pause"); status != http.StatusForbidden {
		t.Errorf("a pause with the scope read: got %d", status)
	}
	if status := command("rules", "telltale_pause"); status != http.StatusOK {
		t.Errorf("a pause: got %d", status)
	}
	if got := states("rules"); got["Telltale paused"] != true {
		t.Errorf("in a pause: got %v", got)
	}
	if got := srv.answerTo("tracker.example.", "A"); strings.Contains(got, "0.0.0.0") {
		t.Errorf("in a pause: tracker.example is answered %s", got)
	}
	if status := command("rules", "telltale_resume"); status != http.StatusOK {
		t.Errorf("the end of a pause: got %d", status)
	}
	if got := states("rules"); got["Telltale paused"] != false {
		t.Errorf("after a pause: got %v", got)
	}
	if got := srv.answerTo("tracker.example.", "A"); !strings.Contains(got, "0.0.0.0") {
		t.Errorf("after a pause: tracker.example is answered %s", got)
	}
}
