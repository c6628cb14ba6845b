package kinds

import (
	"os"
	"strings"
	"testing"
)

func known(t *testing.T, own string) *Known {
	t.Helper()
	all, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	mine, err := Parse("kinds.txt", own)
	if err != nil {
		t.Fatal(err)
	}
	return New(all, mine)
}

// Each shipped signature is sound, and says where that is known from.
func TestShippedSignatures(t *testing.T) {
	all, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Errorf("%d signatures", len(all))
	}
	seen := map[string]int{}
	for _, s := range all {
		if s.Source == "" {
			t.Errorf("%s:%d has no source", s.File, s.Line)
		}
		if path, ok := strings.CutPrefix(s.Source, "blocklists/"); ok {
			text, err := os.ReadFile("../../blocklists/" + path)
			if err != nil {
				t.Errorf("%s:%d: %v", s.File, s.Line, err)
			}
			for _, c := range s.Clues {
				if name := strings.TrimPrefix(c.Pattern, "="); !strings.Contains(string(text), name) {
					t.Errorf("%s:%d: %s is not in %s", s.File, s.Line, name, s.Source)
				}
			}
		}
		key := ""
		for _, c := range s.Clues {
			key += c.Sort.String() + "=" + c.Pattern + " "
		}
		if line, twice := seen[key+s.Kind]; twice {
			t.Errorf("%s:%d says again what line %d does", s.File, s.Line, line)
		}
		seen[key+s.Kind] = s.Line
	}
}

func TestMistakesAreNamed(t *testing.T) {
	all, err := Parse("kinds.txt", `# a comment
source=https://www.example/a   # holds for what follows
host=radio-* kind=speaker vendor="Ada & Sons" product="Radio 1" strength=fair

host=x kind=toaster strength=fair
host=x strength=fair
kind=tv strength=fair
host=x kind=tv
host=* kind=tv strength=fair
asks=*.example kind=tv strength=fair
service=ipp kind=printer strength=weak
colour=red kind=tv strength=fair
host=x kind=tv kind=phone strength=fair
host="x kind=tv strength=fair
host= kind=tv strength=fair
source=a kind=tv
host=x product=y kind=tv strength=fair
`)
	if len(all) != 1 || all[0].Vendor != "Ada & Sons" || all[0].Product != "Radio 1" || all[0].Source != "https://www.example/a" || all[0].Line != 3 {
		t.Errorf("got %+v", all)
	}
	for _, want := range []string{
		"kinds.txt:5: kind=toaster", "kinds.txt:6: it says nothing", "kinds.txt:7: no clue", "kinds.txt:8: no strength", "kinds.txt:9: host=* fits everything",
		"kinds.txt:10: asks=*.example", "kinds.txt:11: service=ipp", `kinds.txt:12: "colour"`, "kinds.txt:13: kind is there twice", "kinds.txt:14: a quote",
		`kinds.txt:15: "host="`, "kinds.txt:16: source stands alone", "kinds.txt:17: a product without its vendor",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func TestGuesses(t *testing.T) {
	for _, c := range []struct {
		what, own  string
		d          Description
		kind       string
		vendor     string
		confidence Confidence
	}{
		{"nothing known", "", Description{}, "", "", 0},
		{"a maker of many things", "", Description{Makers: []string{"Apple, Inc."}}, "", "", 0},
		{"one strong clue", "", Description{Hosts: []string{"Annas-iPhone"}}, "phone", "Apple", Medium},
		{"two sorts agree", "", Description{Hosts: []string{"Annas-iPhone"}, Models: []string{"iPhone14,2"}}, "phone", "Apple", High},
		{"the same thing said twice", "", Description{Hosts: []string{"Annas-iPhone", "iPhone-2"}}, "phone", "Apple", Medium},
		{"two things are said", "", Description{Hosts: []string{"Annas-iPhone"}, Models: []string{"iPad13,1"}}, "", "Apple", High},
		{"a computer that shares a printer", "", Description{Services: []string{"_ipp._tcp"}, Models: []string{"MacBookPro15,1"}}, "computer", "Apple", Medium},
		{"the vendor alone", "", Description{Services: []string{"_miio._udp"}}, "", "Xiaomi", Medium},
		{"a name below one", "", Description{Asked: []string{"a.b.lgtvcommon.com."}}, "tv", "LG", Medium},
		{"a name beside one", "", Description{Asked: []string{"notlgtvcommon.com", "x.snu.lge.com"}}, "", "", 0},
		{"your own lines go first", "host=*iphone* kind=other strength=fair", Description{Hosts: []string{"Annas-iPhone"}, Models: []string{"iPhone14,2"}}, "other", "", Low},
		{"all clues of a line", "host=a* class=b kind=tv strength=strong", Description{Hosts: []string{"abc"}}, "", "", 0},
		{"a camera of a maker of printers", "", Description{Hosts: []string{"canon-eos-r6"}}, "camera", "Canon", Medium},
		{"another, by its MAC, too", "", Description{Hosts: []string{"Canon-Powershot"}, Makers: []string{"CANON INC."}}, "camera", "Canon", High},
		{"two digits", "host=b##-* kind=light strength=strong", Description{Hosts: []string{"b42-x"}}, "light", "", Medium},
		{"a letter for a digit", "host=b##-* kind=light strength=strong", Description{Hosts: []string{"b4x-x"}}, "", "", 0},
		{"a number sign for itself", `model="lamp #1" kind=light strength=strong`, Description{Models: []string{"Lamp #1"}}, "light", "", Medium},
		{"capitals", "host=KITCHEN?Radio kind=speaker strength=strong", Description{Hosts: []string{"kitchen-radio"}}, "speaker", "", Medium},
	} {
		g := known(t, c.own).Guess(&c.d)
		if g.Kind != c.kind || g.Vendor != c.vendor || g.Confidence != c.confidence {
			t.Errorf("%s: got %q of %q with %v, want %q of %q with %v", c.what, g.Kind, g.Vendor, g.Confidence, c.kind, c.vendor, c.confidence)
		}
		if (g.Confidence != 0) != (len(g.Reasons) > 0) && c.kind != "" {
			t.Errorf("%s: reasons %v", c.what, g.Reasons)
		}
	}
	g := known(t, "").Guess(&Description{Hosts: []string{"Annas-iPhone"}})
	if got, want := g.Reasons[0].String(), `calls itself "Annas-iPhone": phone of Apple, iPhone`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Patterns that are compared as words mean what they do where every character is looked at.
func TestWordsMatchAsAnyPatternDoes(t *testing.T) {
	letters := []string{"", "*", "?", "#", "1", "a", "ä"}
	var texts, patterns []string
	for _, a := range letters {
		for _, b := range letters {
			for _, c := range letters {
				patterns = append(patterns, a+b+c)
				texts = append(texts, strings.NewReplacer("*", "a1", "?", "", "#", "1").Replace(a+b+c))
			}
		}
	}
	for _, pattern := range patterns {
		for _, text := range texts {
			if got, want := matches(pattern, text), matchesAny(pattern, text); got != want {
				t.Fatalf("%q matches %q: got %v, want %v", pattern, text, got, want)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(shipped[:3000])
	f.Add("host=\"a b\"c#d kind=tv strength=fair # x\nsource=\"\nasks==.. kind=tv strength=weak\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse("file", text)
		for _, s := range all {
			if len(s.Clues) == 0 || s.Strength == 0 || s.Kind == "" && s.Vendor == "" {
				t.Errorf("%+v was taken", s)
			}
		}
		if err != nil && !strings.HasPrefix(err.Error(), "file") {
			t.Errorf("an error without its place: %v", err)
		}
		New(all, nil).Guess(&Description{Hosts: []string{text}, Asked: []string{"a.example"}, Services: []string{"_ipp._tcp"}})
	})
}
