package main

import (
	"context"
	"strings"
	"testing"

	"telltale/devices"
)

func TestClientIDsThatAreMadeAreSecret(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		var out lockedBuffer
		if exit := command(context.Background(), []string{"client-id"}, &out, &out, nil); exit != 0 {
			t.Fatal(out.String())
		}
		id, ok := strings.CutPrefix(strings.TrimSpace(out.String()), "client_id: ")
		if !ok || !devices.IsClientID(id) || !devices.IsSecretID(id) || seen[id] {
			t.Errorf("%q, want a setting with a secret id, each time another", out.String())
		}
		seen[id] = true
	}
}
