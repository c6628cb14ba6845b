package config

import "testing"

// What a center shared before another one was promoted comes behind what that one shares.
func TestSharedSettingsBehindOthers(t *testing.T) {
	const head = "# What the center of this node's fleet shares.\n\n"
	for _, c := range []struct{ first, others, want string }{
		{"", "", ""},
		{"", "blocking:\n  mode: refused\n", head + "blocking:\n  mode: refused\n"},
		{"blocking:\n  mode: null\n", "blocking:\n  mode: refused\n  tier: mixed\n", "blocking:\n  mode: null\n  tier: mixed\n"},
		{
			"devices:\n  - name: tv\n    mac: 02:00:5e:10:00:01\n", "devices:\n  - name: TV\n    mac: 02:00:5e:10:00:02\n  - name: box\n    mac: 02:00:5e:10:00:01\n  - name: phone\n    mac: 02:00:5e:10:00:03\n",
			"devices:\n  - mac: 02:00:5e:10:00:01\n    name: tv\n  - mac: 02:00:5e:10:00:03\n    name: phone\n",
		},
		{"local:\n  records: [\"a.example A 192.0.2.1\"]\n", "local:\n  records: [\"a.example A 192.0.2.1\", \"b.example A 192.0.2.2\"]\n", "local:\n  records:\n    - a.example A 192.0.2.1\n    - b.example A 192.0.2.2\n"},
	} {
		got, err := SharedBehind([]byte(c.first), []byte(c.others))
		if err != nil || string(got) != c.want {
			t.Errorf("%q behind %q: got\n%s(%v), want\n%s", c.others, c.first, got, err, c.want)
		}
	}
	if got, err := SharedBehind(nil, []byte("a: [")); err == nil {
		t.Errorf("what is no YAML becomes %q", got)
	}
}
