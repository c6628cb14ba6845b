package clickhouse

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"telltale/querylog"
)

// fill sets each field of a struct to something that is not zero.
func fill(v reflect.Value, r *rand.Rand) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(string([]byte{'a' + byte(r.IntN(26)), 'a' + byte(r.IntN(26)), 0xc3, 0xa4}))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(1+r.IntN(1e9)) / 1000)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 + r.Int64N(1<<30))
	case reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		v.SetUint(1 + r.Uint64N(1<<(v.Type().Bits()-1)))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[querylog.Time]() {
			v.Set(reflect.ValueOf(querylog.Time{Time: time.UnixMilli(1 + r.Int64N(1<<41))}))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), r)
		}
	default:
		panic(v.Type().String())
	}
}

func TestEveryFieldOfARowComesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var l lookup
		fill(reflect.ValueOf(&l.Row).Elem(), r)
		l.Open = false // rows that are sent are closed
		l.store, l.listed = r.Uint64(), true
		l.Store = storeText(l.store)
		if r.IntN(2) == 0 {
			l.Rule = l.Name
		}
		var w rowWriter
		for i := range lookups {
			lookups[i].put(&w, &l)
		}
		var got lookup
		in := newRowReader(bytes.NewReader(w.b))
		for i := range lookups {
			lookups[i].take(in, &got)
		}
		if in.err != nil || in.more() {
			t.Fatalf("reading it back: %v, and more: %v", in.err, in.more())
		}
		if !reflect.DeepEqual(got, l) {
			t.Fatalf("got  %+v\nwant %+v", got, l)
		}
	}
}

func TestAnAnswerThatIsCutOffIsAnError(t *testing.T) {
	l := lookup{Row: querylog.Row{Name: "shop.example", Device: "phone"}}
	var w rowWriter
	for i := range lookups {
		lookups[i].put(&w, &l)
	}
	for n := range len(w.b) {
		in := newRowReader(bytes.NewReader(w.b[:n]))
		var got lookup
		for i := range lookups {
			lookups[i].take(in, &got)
		}
		if in.err == nil {
			t.Fatalf("%d of %d octets are taken for a row", n, len(w.b))
		}
	}
}

func FuzzRowReader(f *testing.F) {
	var w rowWriter
	w.text("shop.example")
	w.u32(7)
	f.Add(w.b)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := newRowReader(bytes.NewReader(b))
		for in.more() {
			var l lookup
			for i := range lookups {
				lookups[i].take(in, &l)
			}
		}
	})
}

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		address string
		want    Address
	}{
		{"clickhouse://db.example", Address{Shards: [][]string{{"db.example:8123"}}, Database: "telltale"}},
		{"clickhouse://u:p%40s@[2001:db8::1]:9/logs?secure=true", Address{Shards: [][]string{{"[2001:db8::1]:9"}}, Database: "logs", User: "u", Password: "p@s", Secure: true}},
		{"clickhouse://a,b:1;c,d/x?replicated=/clickhouse/x&quorum=2&compress=none",
			Address{Shards: [][]string{{"a:8123", "b:1"}, {"c:8123", "d:8123"}}, Database: "x", Replicated: "/clickhouse/x", Quorum: 2, Plain: true}},
	} {
		got, err := ParseAddress(c.address)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s is read as %+v, %v\nwant %+v", c.address, got, err, c.want)
		}
	}
	for address, what := range map[string]string{
		"http://a":                           "another scheme",
		"clickhouse://":                      "no server",
		"clickhouse://a,":                    "an empty replica",
		"clickhouse://a;":                    "an empty shard",
		"clickhouse://a,b":                   "replicas without a path",
		"clickhouse://a;a":                   "the same server twice",
		"clickhouse://a:0":                   "port 0",
		"clickhouse://a:x":                   "a port that is none",
		"clickhouse://a/b-c":                 "a database that is no word",
		"clickhouse://a?quorum=2":            "a quorum larger than the replicas",
		"clickhouse://a?quorum=x":            "a quorum that is no number",
		"clickhouse://a?replicated=x":        "a path without a slash",
		"clickhouse://a?nonsense=1":          "an option that is not there",
		"clickhouse://a?secure=1&secure=0":   "an option twice",
		"clickhouse://u:%zz@a":               "a password with a broken escape",
		"clickhouse://a?compress=zstd":       "a form of packing that 18.16 lacks",
		"clickhouse://a?password_file=/none": "a file that is not there",
	} {
		if got, err := ParseAddress(address); err == nil {
			t.Errorf("%s (%s) is read as %+v", address, what, got)
		}
	}
	if got, want := Redact("clickhouse://u:secret@a/x"), "clickhouse://u:...@a/x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The golden numbers never change: rows of a store would be looked for, and sent again, elsewhere.
func TestAStoreIsAlwaysOnOneShard(t *testing.T) {
	var got []int
	for _, shards := range []int{1, 2, 3, 7} {
		a := Address{Shards: make([][]string, shards)}
		for _, store := range []string{"0000000000000000", "0123456789abcdef", "ffffffffffffffff"} {
			got = append(got, a.ShardOf(store))
		}
	}
	if want := []int{0, 0, 0, 0, 1, 0, 2, 1, 0, 4, 3, 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
