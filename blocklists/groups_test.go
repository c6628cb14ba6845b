package blocklists

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"telltale/dnswire"
)

// manyGroups are 500 devices in 40 groups: each has a list off, and every second a mode.
func manyGroups() (all []GroupSettings) {
	for i := range 500 {
		group := i % 40
		g := GroupSettings{Name: fmt.Sprint("device", i), Groups: []string{fmt.Sprint("group", group)}, Lists: []GroupList{{Name: fmt.Sprint("l", group%4), Is: ListOffFor}}}
		if group%2 == 0 {
			mode := NXDomain
			g.Mode = &mode
		}
		all = append(all, g)
	}
	return all
}

func TestDevicesWithTheSameSettingsShareThem(t *testing.T) {
	dir := files(t, map[string]string{"l0.txt": "a.example\n", "l1.txt": "b.example\n", "l2.txt": "c.example\n", "l3.txt": "d.example\n"})
	o := Options{Dir: dir, Groups: manyGroups()}
	p := policyOf(t, o)
	if got, want := len(p.groups), 1+40; got != want {
		t.Errorf("got %d groups of the policy, want %d", got, want)
	}
	if &p.group(1).lists[0] != &p.group(41).lists[0] || p.group(1) != p.group(41) || p.group(1) == p.group(2) {
		t.Error("devices of one group do not share what it says")
	}
	for i := range o.Groups {
		for l, word := range []string{"a", "b", "c", "d"} {
			v := p.Decide(name(t, word+".example"), dnswire.TypeA, Group(i+1))
			if off := i%4 == l; off != (v.Action == Pass) || !off && (v.Mode == NXDomain) != (i%2 == 0) {
				t.Fatalf("device %d, list %d: got %v, %v", i, l, v.Action, v.Mode)
			}
		}
	}
}

func TestTheRulesOfAGroupAreForItsDevicesAlone(t *testing.T) {
	dir := files(t, map[string]string{"own.txt": "192.168.1.1 nas.lan\n", "a.txt": "ads.example\n"})
	rules := files(t, map[string]string{"kids.txt": "only.example\n@@ads.example\n192.168.1.2 nas.lan\n"})
	p := policyOf(t, Options{
		Dir: dir, Groups: []GroupSettings{{Name: "tablet", Groups: []string{"kids"}}, {Name: "pc"}},
		Local: []LocalList{{Name: "groups/kids", Path: rules + "/kids.txt", Kind: OwnList, Group: "kids"}},
	})
	for _, f := range []struct {
		group Group
		name  string
		want  Action
	}{
		{1, "only.example", Block}, {2, "only.example", Pass}, {0, "only.example", Pass},
		{1, "ads.example", Allow}, {2, "ads.example", Block}, {0, "ads.example", Block},
		{1, "nas.lan", Answer}, {2, "nas.lan", Answer},
	} {
		v := p.Decide(name(t, f.name), dnswire.TypeA, f.group)
		if v.Action != f.want {
			t.Errorf("%s for %d: got %v, want %v", f.name, f.group, v.Action, f.want)
		}
		if f.want == Answer && f.group == 2 {
			if got := p.Records(v, dnswire.TypeA); len(got) != 1 || got[0].Data[3] != 1 {
				t.Errorf("%s for %d: got %v, want the record of own.txt alone", f.name, f.group, got)
			}
		}
	}
}

// BenchmarkDecideInGroups is the cost of a decision with 1,200,000 names, for everybody
// and for 500 devices in 40 groups, and what the groups take of memory.
func BenchmarkDecideInGroups(b *testing.B) {
	var lists [4]strings.Builder
	for i := range 1_200_000 {
		fmt.Fprintf(&lists[i%4], "n%d.example\n", i)
	}
	dir := files(b, map[string]string{"l0.txt": lists[0].String(), "l1.txt": lists[1].String(), "l2.txt": lists[2].String(), "l3.txt": lists[3].String()})
	s, err := OpenReadOnly(Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	used := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	one := used()
	question := name(b, "n77.example")
	b.Run("everybody", func(b *testing.B) {
		for b.Loop() {
			s.Current().Decide(question, dnswire.TypeA, 0)
		}
	})
	groups := manyGroups()
	if err := s.Configure(Options{Dir: dir, Groups: groups}); err != nil {
		b.Fatal(err)
	}
	more := 100 * (float64(used()) - float64(one)) / float64(one)
	b.Run("groups", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			s.Current().Decide(question, dnswire.TypeA, Group(i%len(groups)+1))
		}
		b.ReportMetric(more, "%memory")
	})
	b.Run("change", func(b *testing.B) {
		for b.Loop() {
			if err := s.Configure(Options{Dir: dir, Groups: groups}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
