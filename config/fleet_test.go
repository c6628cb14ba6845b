package config

import (
	"strings"
	"testing"
)

func TestACenterHasItsPortWhereNoneIsGiven(t *testing.T) {
	t.Parallel()
	c, err := load(t, "fleet: {center: [\"https://center.lan\", \"https://[2001:db8::1]\", \"https://192.0.2.1:8443\"]}\ncenter: {address: [\"https://192.0.2.1\"]}")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(c.Fleet.Center, " "), "https://center.lan:5390 https://[2001:db8::1]:5390 https://192.0.2.1:8443"; got != want {
		t.Errorf("fleet.center: got %s, want %s", got, want)
	}
	if got, want := strings.Join(c.Center.Address, " "), "https://192.0.2.1:5390"; got != want {
		t.Errorf("center.address: got %s, want %s", got, want)
	}
}
