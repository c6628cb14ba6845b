package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The tree of x/mod is the slow twin: it keeps every hash.
func TestTreeIsThatOfRFC9162(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		for _, i := range indexes {
			hashes = append(hashes, stored[i])
		}
		return hashes, nil
	})
	var tree Tree
	var leaves []Node
	salt := Salt{1}
	for n := range int64(600) {
		if want, err := tlog.TreeHash(n, reader); err != nil || n > 0 && tree.Root() != want {
			t.Fatalf("%d leaves: %v, want %v (%v)", n, tree.Root(), want, err)
		}
		line := []byte{byte(n), byte(n >> 8)}
		more, err := tlog.StoredHashes(n, append(salt[:], line...), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
		leaf := LeafHash(&salt, line)
		if leaf != more[0] {
			t.Fatalf("leaf %d is not an entry of RFC 9162", n)
		}
		tree.Add(leaf)
		leaves = append(leaves, Node{0, leaf})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 { // covers
		size := 1 + r.Int64N(600)
		from := r.Int64N(size)
		to := from + 1 + r.Int64N(size-from)
		var c Tree
		for at, i, levels := int64(0), 0, append(append(spans(0, from), make([]int, to-from)...), spans(to, size)...); i < len(levels); i++ {
			var sub Tree
			for range int64(1) << levels[i] {
				sub.Add(leaves[at].Hash)
				at++
			}
			if err := c.Push(Node{levels[i], sub.Root()}); err != nil {
				t.Fatalf("cover of %d to %d of %d: %v", from, to, size, err)
			}
		}
		if want, _ := tlog.TreeHash(size, reader); c.Size() != size || c.Root() != want {
			t.Fatalf("cover of %d to %d of %d leaves has %d and another root", from, to, size, c.Size())
		}
	}
	var wrong Tree
	wrong.Add(Hash{})
	if err := wrong.Push(Node{1, Hash{}}); !errors.Is(err, ErrPlace) {
		t.Errorf("a subtree of two behind one leaf: %v", err)
	}
}

// spans returns the levels of the fewest subtrees that are the leaves from one to
// before another, from the left.
func spans(from, to int64) (levels []int) {
	for from < to {
		level := bits.TrailingZeros64(uint64(from))
		if most := bits.Len64(uint64(to-from)) - 1; from == 0 || level > most {
			level = most
		}
		levels = append(levels, level)
		from += 1 << level
	}
	return levels
}

func TestSaltIsHMAC(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		var secret Secret
		for i := range secret {
			secret[i] = byte(r.Uint32())
		}
		salter := NewSalter(&secret)
		for range 3 {
			id := r.Int64()
			mac := hmac.New(sha256.New, secret[:])
			mac.Write(binary.BigEndian.AppendUint64([]byte("row"), uint64(id)))
			want := Salt(mac.Sum(nil))
			if got := RowSalt(&secret, id); got != want {
				t.Fatalf("%x %d: %x, want %x", secret, id, got, want)
			}
			if got := salter.Row(id); got != want {
				t.Fatalf("%x %d by a Salter: %x, want %x", secret, id, got, want)
			}
		}
	}
}

// Eight octets are looked at at once: no octet at any place may be taken for another.
func TestPlainLengthIsThatOfSingleOctets(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				b := []byte(strings.Repeat("~ !#[]\x7fa", 3))[:length]
				b[at] = byte(c)
				want := 0
				for want < length && plain[b[want]] {
					want++
				}
				if got := plainLength(string(b)); got != want {
					t.Fatalf("%q: %d, want %d", b, got, want)
				}
			}
		}
	}
}

// What a line says is what any reader of JSON finds in it.
func FuzzText(f *testing.F) {
	f.Add("a\"\\\x00\x1f\x7fé\u2028\xff\xc3")
	f.Fuzz(func(t *testing.T, s string) {
		line := (&LedgerLine{ID: 1, Detail: s}).Append(nil)
		var got struct{ Detail string }
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); len(want) == len(s) && got.Detail != want {
			t.Fatalf("%q, want %q", got.Detail, want)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := testKey(f, OriginOf("0123456789abcdef"), 1)
	c, _ := k.Sign(3, Hash{1})
	f.Add(c)
	h, _ := HandOver(k, k.Public, testKey(f, "telltale/x", 2), 3, Hash{1})
	f.Add(h)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := OpenCheckpoint(b, k.Public); err == nil && !strings.HasPrefix(string(b), got.Text()+"\n") {
			t.Errorf("%q was read as %+v", b, got)
		}
		OpenHandover(b)
		ParseStatement(b)
	})
}

func TestCheckpointsOfOthersAreToldApart(t *testing.T) {
	mine, other := testKey(t, "telltale/a", 1), testKey(t, "telltale/a", 2)
	note, err := other.Sign(5, Hash{9})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := OpenCheckpoint(note, mine.Public); !errors.Is(err, ErrUnknownKey) || c.Size != 5 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := OpenCheckpoint(note, mine.Public, other.Public); err != nil {
		t.Error(err)
	}
}

func TestHandover(t *testing.T) {
	a, b := testKey(t, "telltale/a", 1), testKey(t, "telltale/b", 2)
	signed, err := HandOver(a, a.Public, b, 7, Hash{3})
	if err != nil {
		t.Fatal(err)
	}
	want := Handover{a.Public, b.Public, 7, Hash{3}, true}
	if got, err := OpenHandover(signed); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	want.SignedByOld = false
	alone, _ := HandOver(nil, a.Public, b, 7, Hash{3})
	if got, err := OpenHandover(alone); got != want || err != nil {
		t.Errorf("without the old key: %+v, %v", got, err)
	}
}

func TestParseStatementRefuses(t *testing.T) {
	good := (&Removal{Time: 1, Of: KindRow, Why: ByAge, Count: 3, IDs: [][2]int64{{1, 2}, {4, 4}}}).Append(nil)
	s, err := ParseStatement(good)
	if err != nil {
		t.Fatal(err)
	}
	r := s.(*Removal)
	for id, want := range []bool{false, true, true, false, true, false} {
		if r.Covers(int64(id)) != want {
			t.Errorf("covers %d: %v", id, !want)
		}
	}
	for _, bad := range []string{
		``, `{}`, `{"removal":2}`, `{"removal":11}`, `{"row":1,"id":3}`, `{"removal":1,"time":1,"of":"row","why":"age","count":1,"ids":[[3,1]]}`,
		`{"removal":1,"of":"row","time":1}`, `{"removal":1,"time":1,"ids":[[1,2],[2,3]]}`, string(good) + "x", string(good[:20]),
	} {
		if s, err := ParseStatement([]byte(bad)); !errors.Is(err, ErrLine) {
			t.Errorf("%s: %+v, %v", bad, s, err)
		}
	}
}

func BenchmarkLeaf(b *testing.B) {
	var l Leaf
	s := NewSalter(&Secret{1})
	b.ReportAllocs()
	for i := range b.N {
		r := testRow
		r.ID += int64(i)
		salt := s.Row(r.ID)
		l.Row(&salt, &r)
	}
	b.ReportMetric(float64(len(l.Line())), "octets")
}

func TestLeavesAllocateNothing(t *testing.T) {
	var l Leaf
	var tree Tree
	s := NewSalter(&Secret{1})
	r := testRow
	if n := testing.AllocsPerRun(1000, func() {
		r.ID++
		salt := s.Row(r.ID)
		tree.Add(l.Row(&salt, &r))
	}); n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}

// Each field of a row and of a line of the ledger is in its leaf: one that is not could be changed unseen.
func TestEachFieldIsInItsLine(t *testing.T) {
	lines := map[string]string{}
	check := func(what, line, empty string) {
		t.Helper()
		if line == empty {
			t.Errorf("%s is not in its line", what)
		}
		if other, ok := lines[line]; ok {
			t.Errorf("%s and %s have one line: %s", what, other, line)
		}
		lines[line] = what
		if !json.Valid([]byte(line)) {
			t.Errorf("%s: the line is no JSON: %s", what, line)
		}
	}
	each := func(of any, zero string, line func(v any) string) {
		typ := reflect.TypeOf(of)
		for i := range typ.NumField() {
			v := reflect.New(typ)
			f := v.Elem().Field(i)
			switch {
			case !typ.Field(i).IsExported():
				continue
			case f.Kind() == reflect.String:
				f.SetString("x")
			case f.CanInt():
				f.SetInt(7)
			case f.CanUint():
				f.SetUint(7)
			case f.Kind() == reflect.Slice:
				f.SetBytes([]byte{1, 2})
			case typ.Field(i).Name == "Annotation":
				continue // by its own fields
			default:
				t.Fatalf("%s is of a kind that is not known here", typ.Field(i).Name)
			}
			check(typ.Name()+"."+typ.Field(i).Name, line(v.Interface()), zero)
		}
	}
	row := func(v any) string { return string(v.(*Row).Append(nil)) }
	each(Row{}, row(new(Row)), row)
	annotated := func(v any) string { return string((&Row{Annotation: v.(*Annotation)}).Append(nil)) }
	each(Annotation{}, annotated(new(Annotation)), annotated)
	event := func(v any) string { return string(v.(*LedgerLine).Append(nil)) }
	each(LedgerLine{}, event(new(LedgerLine)), event)
}
