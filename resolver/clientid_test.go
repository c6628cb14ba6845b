package resolver

import (
	"strings"
	"testing"

	"telltale/devices"
	"telltale/resolver/listen"
)

// What listeners take for a client id is what a device may have in the settings, but for
// the case of letters.
func FuzzClientIDsAreTheSame(f *testing.F) {
	for _, text := range []string{"phone", "Phone", "-a", "a-", "", "a.b", "é", "0", strings.Repeat("a", 63), strings.Repeat("a", 64), "a\x00", "K"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := listen.CleanClientID(text)
		if ok != devices.IsClientID(id) || ok && !strings.EqualFold(id, text) || devices.IsClientID(text) && id != text {
			t.Errorf("%q: %q, %v; a device may have it: %v", text, id, ok, devices.IsClientID(text))
		}
	})
}
