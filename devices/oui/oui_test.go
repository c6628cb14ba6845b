package oui

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The same registry in each of its formats. The blocks are those for documentation and
// made-up names.
var formats = map[string]string{
	"table": "\ufeffRegistry,Assignment,Organization Name,Organization Address\r\n" +
		"MA-L,00005E,\"Ada \"\"A\"\" Machines, Inc\",\"1 Road, Town\"\r\n" +
		"MA-L,001B21,Bert Radios,2 Road\r\nMA-M,001B219,Cleo Lamps,3 Road\r\nMA-S,001B21A12,Dora Locks,4 Road\r\n" +
		"MA-L,40D855,IEEE Registration Authority,5 Road\r\nMA-L,40D856,Private,\r\n",
	"text": "OUI/MA-L                Organization\n\n" +
		"00-00-5E   (hex)\t\tAda \"A\" Machines, Inc\n00005E     (base 16)\t\tAda \"A\" Machines, Inc\n\t\t\t\t1 Road\n\n" +
		"00-1B-21   (hex)\t\tBert Radios\n001B21     (base 16)\t\tBert Radios\n\n" +
		"00-1B-21   (hex)\t\tCleo Lamps\n900000-9FFFFF     (base 16)\t\tCleo Lamps\n\n" +
		"00-1B-21   (hex)\t\tDora Locks\nA12000-A12FFF     (base 16)\t\tDora Locks\n\n" +
		"40-D8-56   (hex)\t\tPrivate\n40D856     (base 16)\t\tPrivate\n",
	"hwdb": "# data\n\nOUI:00005E*\n ID_OUI_FROM_DATABASE=Ada \"A\" Machines, Inc\n\nOUI:001B21*\n ID_OUI_FROM_DATABASE=Bert Radios\n\n" +
		"OUI:001B219*\n ID_OUI_FROM_DATABASE=Cleo Lamps\n\nOUI:001B21A12*\n ID_OUI_FROM_DATABASE=Dora Locks\n\nOUI:40D856*\n ID_OUI_FROM_DATABASE=Private\n",
	"nmap": "# $Id\n00005E Ada \"A\" Machines, Inc\n001B21 Bert Radios\n001B219 Cleo Lamps\n001B21A12 Dora Locks\n40D856 Private\n",
}

var wanted = map[string]string{
	"00:00:5e:00:53:01":       `Ada "A" Machines, Inc`,
	"00:00:5e:00:53:01:02:03": `Ada "A" Machines, Inc`,
	"00:1b:21:00:00:01":       "Bert Radios",
	"00:1b:21:91:00:01":       "Cleo Lamps",
	"00:1b:21:a1:23:45":       "Dora Locks",
	"00:1b:21:a1:33:45":       "Bert Radios",
}

var others = []string{
	"40:d8:55:00:00:01", // of no one maker
	"40:d8:56:00:00:01", // who does not want to be named
	"02:00:5e:00:53:01", // made up by software
	"0a:1b:21:00:00:01", "", "00:1b", "00:02:03:00:00:01",
	"80:00:00:48:fe:80:00:00:00:00:00:00:00:00:00:00:00:00:00:01", // InfiniBand
}

func ask(r *Registry) map[string]string {
	all := append([]string(nil), others...)
	for mac := range wanted {
		all = append(all, mac)
	}
	return r.Makers(all)
}

func TestMakersOfEachFormat(t *testing.T) {
	for name, text := range formats {
		path := filepath.Join(t.TempDir(), name)
		os.WriteFile(path, []byte(text), 0o600)
		r := &Registry{}
		r.Use(path)
		for _, again := range []string{"first", "from memory"} {
			if got := ask(r); !maps.Equal(got, wanted) {
				t.Errorf("%s, %s: got %q, want %q", name, again, got, wanted)
			}
		}
		if s := r.Status(); s.Problem != "" || len(s.Files) != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// A directory is the three files of the IEEE.
func TestMakersOfADirectory(t *testing.T) {
	dir := t.TempDir()
	r := &Registry{}
	r.Use(dir)
	if got := ask(r); len(got) != 0 || r.Status().Problem == "" {
		t.Errorf("an empty directory: %q, %+v", got, r.Status())
	}
	header, rest, _ := strings.Cut(formats["table"], "\r\n")
	for line := range strings.Lines(rest) {
		name := map[string]string{"MA-L": "oui.csv", "MA-M": "mam.csv", "MA-S": "oui36.csv"}[line[:4]]
		old, _ := os.ReadFile(filepath.Join(dir, name))
		os.WriteFile(filepath.Join(dir, name), append(old, (header+"\r\n"+line)...), 0o600)
	}
	if got := ask(r); !maps.Equal(got, wanted) || r.Status().Problem != "" {
		t.Errorf("got %q, %+v", got, r.Status())
	}
}

// What was answered from a file holds until the file is another one.
func TestAnotherFileIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry")
	r := &Registry{}
	r.Use(path)
	mac := "00:1b:21:00:00:01"
	for i, name := range []string{"", "One", "Another one", ""} {
		if name == "" {
			os.Remove(path)
		} else {
			os.WriteFile(path, []byte("001B21 "+name+"\n"), 0o600)
			os.Chtimes(path, time.Time{}, time.Unix(int64(1000+i), 0))
		}
		if got := r.Makers([]string{mac})[mac]; got != name {
			t.Errorf("got %q, want %q", got, name)
		}
		if problem := r.Status().Problem; (problem != "") != (name == "") || name == "" && !strings.Contains(problem, path) {
			t.Errorf("%q: problem %q", name, problem)
		}
	}
	os.WriteFile(path, []byte("<html>not found, sorry</html>\n"), 0o600)
	r.Makers([]string{mac})
	if !strings.Contains(r.Status().Problem, "no line") {
		t.Errorf("a page of a web server: %+v", r.Status())
	}
}

func FuzzRead(f *testing.F) {
	for _, text := range formats {
		f.Add(text)
	}
	f.Add("OUI:\n ID_OUI_FROM_DATABASE=\n00-1B-21   (hex)\n-(base 16)x\nMA-L,\"\n,\",\"\"\"")
	keys := map[string]string{}
	for mac := range wanted {
		keys[keyOf(mac)] = ""
	}
	f.Fuzz(func(t *testing.T, text string) {
		find := newFinder(keys)
		if err := find.readFrom(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		for key := range keys {
			if maker := find.maker(key); len(maker) > 4*maxMaker || strings.ContainsAny(maker, "\n\x1b") {
				t.Errorf("%s: %q", key, maker)
			}
		}
	})
}
