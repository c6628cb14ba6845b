package main

import (
	"testing"

	"telltale/devices"
)

func TestMakersAreKnownByWholeWords(t *testing.T) {
	for _, c := range []struct {
		name, words string
		want        bool
	}{
		{"Samsung Electronics Co.,Ltd", "samsung", true},
		{"Samsung Electronics Co.,Ltd", "Samsung Electronics", true},
		{"Samsung Electronics Co.,Ltd", "electronics co ltd", true},
		{"Algorithmics", "LG", false},
		{"LG Electronics (Mobile Communications)", "lg", true},
		{"Beijing Xiaomi Mobile Software Co., Ltd", "xiaomi", true},
		{"Acme", "", false},
		{"Acme", "..", false},
	} {
		if got := hasWords(c.name, c.words); got != c.want {
			t.Errorf("%q has %q: %v", c.name, c.words, got)
		}
	}
}

// A MAC that may stand for several devices has no maker, and is looked up when it does not
// any more.
func TestMakersAreOfMACsThatStandForOneDevice(t *testing.T) {
	cfg := loadText(t, "devices: [{name: pc, mac: '00:00:5e:00:53:03'}]\ngroups: [{name: acme, maker: Acme}]")
	known := []devices.Binding{
		{Device: "mac:00:00:5e:00:53:01", MAC: "00:00:5e:00:53:01", Source: devices.Neighbour, Confidence: devices.High},
		{Device: "mac:00:00:5e:00:53:02", MAC: "00:00:5e:00:53:02", Source: devices.Neighbour, Confidence: devices.Low},
	}
	acme := func(macs []string) map[string]string {
		all := map[string]string{}
		for _, mac := range macs {
			all[mac] = "Acme Inc."
		}
		return all
	}
	ids, looked := newIdentities(cfg, known, nil), map[string]bool{}
	makers := makersOf(cfg, ids, known, acme, looked)
	if len(makers) != 2 || len(makers["pc"]) != 1 || len(makers["mac:00:00:5e:00:53:01"]) != 1 {
		t.Errorf("%v", makers)
	}
	s := newMembership(cfg, ids, nil, nil, makers)
	s.looked = new(lookedUp)
	s.looked.Store(&looked)
	asked := 0
	s.missing = func(string) { asked++ }
	s.number(&groupNumbers{byName: map[string]uint16{}}, cfg, known)
	for i := range known {
		s.of(&known[i])
	}
	if asked != 0 {
		t.Errorf("asked %d times for what is known", asked)
	}
	known[1].Confidence = devices.High
	s.of(&known[1])
	s.of(&devices.Binding{Device: "mac:00:00:5e:00:53:04", MAC: "00:00:5e:00:53:04", Source: devices.Neighbour, Confidence: devices.High})
	if asked != 2 {
		t.Errorf("asked %d times for what is not known", asked)
	}
	first, _ := s.of(&known[0])
	if group, _ := s.of(&devices.Binding{Device: "pc"}); group == 0 || first == 0 {
		t.Errorf("settings %d and %d of members", group, first)
	}
}

// A MAC with two bindings in force counts if one of them does, whichever comes last.
func TestAMACCountsIfOneOfItsBindingsDoes(t *testing.T) {
	cfg := loadText(t, "groups: [{name: acme, maker: Acme}]")
	mac := "00:00:5e:00:53:01"
	known := []devices.Binding{
		{Device: "mac:" + mac, MAC: mac, Source: devices.Neighbour, Confidence: devices.High},
		{Device: "mac:" + mac, MAC: mac, Source: devices.Neighbour, Confidence: devices.Low},
	}
	looked := map[string]bool{}
	makersOf(cfg, newIdentities(cfg, known, nil), known, func([]string) map[string]string { return nil }, looked)
	if !looked[mac] {
		t.Error("it does not count")
	}
}
