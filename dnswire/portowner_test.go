package dnswire

import "testing"

func TestPortOwner(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"_8443._https.www.example", "www.example"},
		{"_1._https.example", "example"},
		{"_https.www.example", ""},
		{"_8443._http.www.example", ""},
		{"_8443x._https.www.example", ""},
		{"8443._https.www.example", ""},
		{"_._https.www.example", ""},
		{"_8443._https", ""},
		{"www.example", ""},
		{".", ""},
	} {
		n, err := ParseName(c.name)
		if err != nil {
			t.Fatal(err)
		}
		owner, ok := n.PortOwner()
		got := ""
		if ok {
			got = owner.String()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
