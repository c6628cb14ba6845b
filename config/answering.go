package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// answering are the settings, with all below them, by which names are answered or attempts
// counted.
var answering = []string{
	"upstreams", "upstream_strategy", "upstream_hedging", "upstream_bootstrap", "forward", "lists", "catalog", "cache.stale", "cache.min_ttl", "cache.max_ttl", "cache.negative_ttl", "blocking", "access", "rebind", "special", "local", "dns64",
	"log.attempt_gap", "devices", "groups",
}

// Answering returns a hash of the settings by which names are answered and attempts counted:
// what was set of them to another value than the default. Equal settings have the same one
// on another day, too, and in a later program.
func (c *Config) Answering() string {
	sum := sha256.New()
	is, was := reflect.ValueOf(c).Elem(), reflect.ValueOf(defaults()).Elem()
	for _, s := range leaves() {
		if !slices.ContainsFunc(answering, func(key string) bool { return s.key == key || strings.HasPrefix(s.key, key+".") }) {
			continue
		}
		value := is.FieldByIndex(s.index).Interface()
		if reflect.DeepEqual(value, was.FieldByIndex(s.index).Interface()) {
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			text = []byte(err.Error()) // a kind of setting that JSON has no form for: TestTheHashOfAnswers finds it
		}
		sum.Write([]byte(s.key + " " + string(text) + "\n"))
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
