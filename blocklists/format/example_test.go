package format

import (
	"regexp"
	"testing"
)

func TestExample(t *testing.T) {
	for _, test := range []struct{ re, want string }{
		{`^www\.msftncsi\.com$`, "www.msftncsi.com"},
		{`(?:^|\.)dns.*\.msftncsi\.com$`, "dns.msftncsi.com"},
		{`^ad[0-9]{2,4}[.-](x|y)\.example$`, "ad00-x.example"},
		{`^www.ads.+example$`, "www.ads.example"},
		{`^..x$`, "x.x"},
		{`\.ads\.`, "x.ads.x"},
		{`^[^a-z]+\.example`, "0.example"},
		{`(?i)TRACK`, "track"},
		{`a{1000}`, ""},
		{`(`, ""},
		{``, ""},
	} {
		got, ok := Example(test.re)
		if got != test.want || ok != (test.want != "") {
			t.Errorf("%s: got %q, %v, want %q", test.re, got, ok, test.want)
		}
		if ok && !regexp.MustCompile(test.re).MatchString(got) && !regexp.MustCompile("(?i)"+test.re).MatchString(got) {
			t.Errorf("%s does not match %s", test.re, got)
		}
	}
}

func FuzzExample(f *testing.F) {
	f.Add(`^ad[0-9]{2,4}[.-](x|y)\.example$`)
	f.Fuzz(func(t *testing.T, re string) {
		if text, ok := Example(re); ok && len(text) > 4*maxExample {
			t.Errorf("%q: an example of %d octets", re, len(text))
		}
		_, _ = regexp.Compile(re)
	})
}
