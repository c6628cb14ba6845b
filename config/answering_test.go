package config

import (
	"encoding/json"
	"net/netip"
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
		"forward: [{zones: [lan], upstreams: [192.168.1.1]}]", "forward: [{zones: [lan], upstreams: [tls://192.168.1.1#a.example]}]", "forward: [{zones: [lan], upstreams: [tls://192.168.1.1#b.example]}]",
		"upstream_strategy: fastest", "upstream_hedging: false", "upstream_bootstrap: [192.0.2.9]", "catalog: {url: \"https://lists.example/catalog.tar.gz\", key: \"RWQRIjNEVWZ3iNOGj9lodzDq4m5DoEOJmW7MmdnhrUzwhbLKIh4LUVGW\"}", "rebind: {allow: [lan]}", "access: {allow: [192.0.2.0/24]}",
		"upstreams: [tcp://192.0.2.1]", "upstreams: [tls://192.0.2.1#a.example]", "upstreams: [tls://192.0.2.1#b.example]", "upstreams: [router]",
		"upstreams: [{address: tls://a.example, addresses: [192.0.2.1]}]", "upstreams: [{address: tls://b.example, addresses: [192.0.2.1]}]", "upstreams: [{address: quic://b.example, addresses: [192.0.2.1]}]",
		"upstreams: [https://192.0.2.1/a#a.example]", "upstreams: [https://192.0.2.1/b#a.example]", "upstreams: [h3://192.0.2.1/b#a.example]",
		"cache: {stale: 1h}", "cache: {min_ttl: 10s}", "cache: {max_ttl: 1h}", "cache: {negative_ttl: 1m}", "local: {device_suffix: lan}", "dns64: {prefix: auto}",
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

// A server's form has each of its fields, also one that is new.
func TestTheFormOfAServerHasEachField(t *testing.T) {
	form := func(a ServerAddress) string {
		t.Helper()
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	base := ServerAddress{AddrPort: netip.MustParseAddrPort("192.0.2.1:853"), Transport: "https"}
	for i := range reflect.TypeFor[ServerAddress]().NumField() {
		other := base
		name, field := reflect.TypeFor[ServerAddress]().Field(i).Name, reflect.ValueOf(&other).Elem().Field(i)
		switch value := field.Addr().Interface().(type) {
		case *netip.AddrPort:
			*value = netip.MustParseAddrPort("192.0.2.2:853")
		case *string:
			*value = "other"
		case *bool:
			*value = true
		default:
			t.Fatalf("%s: the test has no other value of a %s", name, field.Type())
		}
		if got := form(other); got == form(base) {
			t.Errorf("%s is not in the form: %s", name, got)
		}
	}
}
