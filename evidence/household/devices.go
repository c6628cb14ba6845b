package household

import (
	"fmt"
	"strings"
	"time"

	"telltale/dnswire"
)

// Kinds are those of the home's devices, and how many of each there are.
var Kinds = []struct {
	Kind string
	Many int
}{
	{"phone", 4}, {"tablet", 2}, {"laptop", 3}, {"desktop", 1}, {"television", 2}, {"speaker", 3}, {"console", 1},
	{"camera", 2}, {"printer", 1}, {"lamp", 4}, {"vacuum", 1}, {"thermostat", 1},
}

// Labels of devices to which something happens.
const (
	Phone      = "phone"       // was told to send no analytics on a Tuesday
	Randomised = "phone-2"     // took another MAC
	Renamed    = "Anna's book" // was laptop-2
	Television = "television"
)

const listHead = `# What the made-up companies of a made-up home say of their names.
`

// Names are those that the home's list has. Companies and names are made up.
func Names() []*Name {
	n := func(name, vendor, product, purpose, tier string) *Name {
		return &Name{name, vendor, product, purpose, tier}
	}
	return []*Name{
		n("metrics.aurora.example", "Aurora", "Aurora OS", "analytics", "telemetry"),
		n("crash.aurora.example", "Aurora", "Aurora OS", "crash-reports", "telemetry"),
		n("push.aurora.example", "Aurora", "Aurora Push", "push", "mixed"),
		n("check.aurora.example", "Aurora", "Aurora OS", "connectivity", "essential"),
		n("ads.metrica.example", "Metrica", "Metrica Ads", "advertising", "telemetry"),
		n("events.metrica.example", "Metrica", "Metrica SDK", "analytics", "telemetry"),
		n("viewing.brightline.example", "Brightline", "Brightline TV", "viewing", "telemetry"),
		n("acr.brightline.example", "Brightline", "Brightline TV", "content-recognition", "telemetry"),
		n("update.brightline.example", "Brightline", "Brightline TV", "update", "essential"),
		n("beacon.cadenza.example", "Cadenza", "Cadenza One", "analytics", "telemetry"),
		n("voice.cadenza.example", "Cadenza", "Cadenza One", "voice", "mixed"),
		n("log.domus.example", "Domus", "", "", "telemetry"),
		n("cloud.domus.example", "Domus", "Domus Bridge", "cloud", "mixed"),
		n("stats.eyrie.example", "Eyrie", "Eyrie Cam", "analytics", "telemetry"),
		n("relay.eyrie.example", "Eyrie", "Eyrie Cam", "cloud", "mixed"),
		n("telemetry.fathom.example", "Fathom", "Fathom Desk", "diagnostics", "telemetry"),
		n("update.fathom.example", "Fathom", "Fathom Desk", "update", "essential"),
		n("ink.gantry.example", "Gantry", "Gantry Jet", "supplies", "telemetry"),
		n("play.halcyon.example", "Halcyon", "Halcyon Box", "analytics", "telemetry"),
		n("map.kestrel.example", "Kestrel", "Kestrel V2", "cloud", "mixed"),
		n("report.kestrel.example", "Kestrel", "Kestrel V2", "diagnostics", "telemetry"),
	}
}

// List is the home's list of names, as a file of lists.d.
func List() string {
	var b strings.Builder
	b.WriteString(listHead)
	for _, n := range Names() {
		about := fmt.Sprintf("#@ vendor=%s tier=%s source=https://%s.example/privacy confidence=vendor-documents", n.Vendor, n.Tier, strings.ToLower(n.Vendor))
		if n.Product != "" {
			about += fmt.Sprintf(" product=%q", n.Product)
		}
		if n.Purpose != "" {
			about += " purpose=" + n.Purpose
		}
		if n.Tier == "essential" {
			fmt.Fprintf(&b, "%s name=%s\n", about, n.Name)
			continue
		}
		fmt.Fprintf(&b, "%s\n%s\n", about, n.Name)
	}
	return b.String()
}

// A maker makes the habits of a kind of device.
type maker struct {
	names map[string]*Name
}

// name returns a listed name, or makes one that no list has.
func (m *maker) name(name string) *Name {
	n := m.names[name]
	if n == nil {
		n = &Name{Name: name}
		m.names[name] = n
	}
	return n
}

// random is a habit at random times while a device is used.
func (m *maker) random(name string, perDay float64) Habit {
	return Habit{Name: m.name(name), PerDay: perDay}
}

// beat is a heartbeat, also while the device is not used.
func (m *maker) beat(name string, every, jitter time.Duration) Habit {
	return Habit{Name: m.name(name), Every: every, Jitter: jitter, Asleep: true}
}

func (m *maker) habits(kind string) (all []Habit, wakes [2]int, boots bool) {
	with := func(h Habit, change func(*Habit)) Habit { change(&h); return h }
	boot := func(h *Habit) { h.AtBoot = true }
	retry := func(times int) func(*Habit) { return func(h *Habit) { h.Retries, h.AtBoot = times, true } }
	suffix := func(s string) func(*Habit) { return func(h *Habit) { h.Suffix = s } }
	modern := func(h *Habit) { h.Types = []uint16{dnswire.TypeA, dnswire.TypeAAAA, 65} }
	nightly := func(many int) func(*Habit) { return func(h *Habit) { h.Nightly = many } }
	switch kind {
	case "phone":
		return []Habit{
			with(m.random("metrics.aurora.example", 7), modern), with(m.random("events.metrica.example", 5), modern), m.random("ads.metrica.example", 3),
			with(m.random("crash.aurora.example", 0.3), nightly(1)), with(m.beat("push.aurora.example", 4*time.Hour, 5*time.Minute), modern),
			with(m.random("check.aurora.example", 2), boot), with(m.random("news.example", 6), modern), with(m.random("chat.example", 9), modern),
		}, [2]int{7, 23}, true
	case "tablet":
		return []Habit{
			m.random("metrics.aurora.example", 3), m.random("ads.metrica.example", 5), with(m.random("check.aurora.example", 1), boot), m.random("video.example", 6),
		}, [2]int{15, 21}, true
	case "laptop":
		return []Habit{
			with(m.random("telemetry.fathom.example", 4), retry(2)), with(m.random("update.fathom.example", 1), boot), with(m.random("mail.example", 8), suffix("lan")),
			with(m.random("events.metrica.example", 2), suffix("fritz.box")), m.random("search.example", 10),
		}, [2]int{8, 22}, true
	case "desktop":
		return []Habit{
			with(m.random("telemetry.fathom.example", 6), retry(3)), with(m.random("update.fathom.example", 1), boot), with(m.random("files.example", 8), suffix("home.arpa")), m.random("search.example", 8),
		}, [2]int{9, 18}, true
	case "television":
		return []Habit{
			with(m.random("viewing.brightline.example", 6), retry(12)), with(m.random("acr.brightline.example", 8), retry(6)),
			with(m.random("update.brightline.example", 0), nightly(1)), with(m.random("ads.metrica.example", 2), boot), with(m.random("video.example", 5), boot),
		}, [2]int{18, 23}, true
	case "speaker":
		return []Habit{m.beat("beacon.cadenza.example", 6*time.Hour, 10*time.Second), m.random("voice.cadenza.example", 4), m.random("radio.example", 2)}, [2]int{6, 22}, false
	case "console":
		return []Habit{with(m.random("play.halcyon.example", 4), retry(4)), with(m.random("games.example", 5), boot)}, [2]int{16, 22}, true
	case "camera":
		return []Habit{m.beat("stats.eyrie.example", 3*time.Hour, 30*time.Second), m.beat("relay.eyrie.example", 5*time.Hour, time.Minute)}, [2]int{0, 0}, false
	case "printer":
		return []Habit{with(m.random("ink.gantry.example", 0.5), nightly(2)), with(m.random("time.example", 1), suffix("local"))}, [2]int{9, 18}, false
	case "lamp":
		return []Habit{m.beat("log.domus.example", 8*time.Hour, 0), m.beat("time.example", 12*time.Hour, time.Minute)}, [2]int{0, 0}, false
	case "vacuum":
		return []Habit{with(m.random("report.kestrel.example", 0), nightly(3)), with(m.random("map.kestrel.example", 3), boot)}, [2]int{10, 12}, true
	}
	return []Habit{m.beat("cloud.domus.example", 2*time.Hour, 20*time.Second), m.beat("log.domus.example", 24*time.Hour, time.Hour)}, [2]int{0, 0}, false // thermostat
}

// addDevices makes the devices of the home.
func (h *Home) addDevices() {
	m := maker{map[string]*Name{}}
	for _, n := range Names() {
		m.names[n.Name] = n
	}
	for _, k := range Kinds {
		for i := range k.Many {
			d := &Device{Label: k.Kind, Kind: k.Kind}
			if i > 0 {
				d.Label = fmt.Sprintf("%s-%d", k.Kind, i+1)
			}
			d.Habits, d.Wakes, d.Boots = m.habits(k.Kind)
			n := len(h.Devices) + 1
			mac := fmt.Sprintf("02:00:5e:00:00:%02x", n)
			was := Identity{Device: "mac:" + mac, Name: d.Label, MAC: mac, Addr: fmt.Sprintf("192.168.1.%d", 10+n), Since: h.Begin}
			switch {
			case k.Kind == "printer": // behind something that hides its MAC
				was = Identity{Device: "addr:" + was.Addr, Name: was.Addr, Addr: was.Addr, Since: h.Begin}
				d.Label = was.Addr
			case k.Kind == "television": // in the settings
				was.Device = d.Label
			}
			d.Was = []Identity{was}
			h.Devices = append(h.Devices, d)
			h.change(d)
			d.Habits = append(d.Habits, h.Planted[d.Label]...)
		}
	}
}

// change is what happens to a device.
func (h *Home) change(d *Device) {
	switch d.Label {
	case Phone:
		for i := range d.Habits {
			if b := &d.Habits[i]; b.Name.Name == "metrics.aurora.example" {
				less := *b
				less.PerDay /= 5
				b.Until, less.Since = h.OptedOut, h.OptedOut
				d.Habits = append(d.Habits, less)
				break
			}
		}
	case Randomised:
		mac := "06:12:34:56:78:9a"
		d.Was = append(d.Was, Identity{Device: "mac:" + mac, Name: mac, MAC: mac, Addr: "192.168.1.77", Since: h.day(h.Part(10), 12, 0)})
	case "laptop-2":
		d.Label = Renamed
	}
}
