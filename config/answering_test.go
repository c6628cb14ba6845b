package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The hash is stored: equal settings have the same one in each program.
func TestTheHashOfAnswers(t *testing.T) {
	hash := func(yaml string) string {
		t.Helper()
		c, err := load(t, yaml)
		if err != nil {
			t.Fatalf("%s: %v", yaml, err)
		}
		return c.Answering()
	}
	none := hash("")
	if want := "e3b0c44298fc1c149afbf4c8996fb924"; none != want {
		t.Errorf("defaults: got %s, want %s", none, want)
	}
	for _, same := range []string{"web: {listen: [\"127.0.0.1:9\"]}", "blocking: {ttl: 10s}", "log: {listed: 100d}", "alerts: {tell: [coverage]}"} {
		if got := hash(same); got != none {
			t.Errorf("%s: another hash", same)
		}
	}
	seen := map[string]string{none: "nothing"}
	for _, other := range []string{
		"blocking: {ttl: 11s}", "blocking: {ttl: 12s}", "blocking: {mode: nxdomain}", "devices: [{name: tv, mac: \"02:00:5e:00:00:01\"}]", "devices: [{name: tv2, mac: \"02:00:5e:00:00:01\"}]",
		"groups: [{name: kids, tier: mixed}]", "log: {attempt_gap: 1m}", "lists: {settings: [{name: ads, observe: true}]}", "upstreams: [192.0.2.1]", "upstreams: [192.0.2.2]", "special: {canaries: false}",
		"forward: [{zones: [lan], upstreams: [192.168.1.1]}]",
	} {
		got := hash(other)
		if was, ok := seen[got]; ok {
			t.Errorf("%s has the hash of %s", other, was)
		}
		seen[got] = other
	}
}

// Each key that is named is one, and each value has a form.
func TestWhatTheHashOfAnswersIsOf(t *testing.T) {
	is := reflect.ValueOf(defaults()).Elem()
	for _, key := range answering {
		if !slices.ContainsFunc(leaves(), func(s keyed) bool { return s.key == key || strings.HasPrefix(s.key, key+".") }) {
			t.Errorf("no setting is called %s", key)
		}
	}
	for _, s := range leaves() {
		if _, err := json.Marshal(is.FieldByIndex(s.index).Interface()); err != nil {
			t.Errorf("%s: %v", s.key, err)
		}
	}
}
