package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// vectors is what testdata/vectors.json has, for verifiers in other languages.
type vectors struct {
	Salts       []saltVector        `json:"salts"`
	Leaves      []leafVector        `json:"leaves"`
	Roots       []rootVector        `json:"roots"`       // of the first leaves above
	Cover       []pairVector        `json:"cover"`       // of all leaves above but where it says less: [level, hash]
	Boundary    int64               `json:"boundary"`    // a boundary of the cover: there its root is that of so many leaves
	Keys        []string            `json:"keys"`        // public ones
	Private     []string            `json:"private"`     // of the same, as key files have them
	Checkpoints []string            `json:"checkpoints"` // of each of the roots, signed by the first key
	Handover    string              `json:"handover"`    // from the first key to the second, behind the boundary
	Refused     map[string][]string `json:"refused"`     // by what they pretend to be
}

type saltVector struct {
	Secret string `json:"secret"`
	ID     int64  `json:"id"`
	Salt   string `json:"salt"`
}

type leafVector struct {
	Salt string `json:"salt"`
	Line string `json:"line"`
	Hash string `json:"hash"`
}

type rootVector struct {
	Leaves int64  `json:"leaves"`
	Root   string `json:"root"`
}

type pairVector struct {
	Level int    `json:"level"`
	Hash  string `json:"hash"`
}

// testKey is a key whose seed is one octet again and again.
func testKey(t testing.TB, origin string, octet byte) *Key {
	t.Helper()
	seed := bytes.Repeat([]byte{octet}, ed25519.SeedSize)
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	sum := sha256.Sum256([]byte(origin + "\n\x01" + string(public)))
	hash := binary.BigEndian.Uint32(sum[:])
	k, err := newKey(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", origin, hash, base64.StdEncoding.EncodeToString(append([]byte{1}, seed...))),
		fmt.Sprintf("%s+%08x+%s", origin, hash, base64.StdEncoding.EncodeToString(append([]byte{1}, public...))))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var testRow = Row{
	ID: 1764327600<<20 | 3, Node: "local", First: 1764327600123, Last: 1764327609999, Count: 4, Attempts: 1,
	Device: "mac:02:00:5e:00:53:01", DeviceName: "TV \"living room\"", Client: []byte("192.0.2.7"), MAC: "02:00:5e:00:53:01",
	Binding: 12, BindingSource: "neighbour", BindingTrust: "high", Name: []byte("tracker.vendor.example"), Type: 28,
	Verdict: "block", Reason: "block", List: "vendors/example.txt", Line: 17, Rule: "vendor.example",
	Attribution: "rule", AttributionList: "vendors/example.txt", AttributionLine: 17,
	Annotation:   &Annotation{Vendor: "Example", Product: "TV\u00e9", Purpose: "analytics", Tier: "telemetry", Source: "https://vendor.example/privacy", Confidence: "stated 2"},
	AnsweredFrom: "policy", Transport: "udp", TTL: 10, Elapsed: 41,
}

func makeVectors(t *testing.T) *vectors {
	v := &vectors{}
	keys := []*Key{testKey(t, OriginOf("0123456789abcdef"), 1), testKey(t, OriginOf("0123456789abcdef"), 2)}
	for _, k := range keys {
		v.Keys, v.Private = append(v.Keys, k.Public), append(v.Private, k.Private)
	}
	secret := Secret(bytes.Repeat([]byte{0xa5}, SecretSize))
	for _, id := range []int64{0, 1, testRow.ID} {
		salt := RowSalt(&secret, id)
		v.Salts = append(v.Salts, saltVector{hex.EncodeToString(secret[:]), id, hex.EncodeToString(salt[:])})
	}
	var tree Tree
	var nodes []Node
	add := func(salt Salt, line []byte) {
		h := LeafHash(&salt, line)
		v.Leaves = append(v.Leaves, leafVector{hex.EncodeToString(salt[:]), string(line), hex.EncodeToString(h[:])})
		tree.Add(h)
		nodes = append(nodes, Node{0, h})
	}
	statement := func(s Statement) { add(Salt{}, s.Append(nil)) }
	statement(&Start{Time: 1764327599000, Origin: keys[0].Origin(), From: 1764327600 << 20})
	add(RowSalt(&secret, testRow.ID), testRow.Append(nil))
	control := testRow
	control.ID++
	control.DeviceName, control.Client, control.Rule = "a\x01\\\"\xffb\u202e", []byte("2001:db8::7"), "/[\\w\"]+/"
	add(RowSalt(&secret, control.ID), control.Append(nil))
	folded := Row{ID: control.ID + 1, Node: "local", First: 1, Last: 2, Count: 1 << 40, Folded: 3, Verdict: "block"}
	add(RowSalt(&secret, folded.ID), folded.Append(nil))
	line := LedgerLine{ID: 1764327600 << 20, Node: "local", Time: 1764327601000, Kind: "start", Detail: "telltale 1.0"}
	add(Salt(bytes.Repeat([]byte{7}, SecretSize)), line.Append(nil))
	statement(&Removal{Time: 1764327700000, Of: KindRow, Why: ByForgotten, Count: 2, IDs: [][2]int64{{testRow.ID, testRow.ID}, {folded.ID, folded.ID}}})
	boundary := tree.Clone()
	v.Boundary = boundary.Size()
	given, err := HandOver(keys[0], keys[0].Public, keys[1], boundary.Size(), boundary.Root())
	if err != nil {
		t.Fatal(err)
	}
	v.Handover = string(given)
	statement(&HandoverLine{Time: 1764327800000, Note: string(given)})
	statement(&End{Time: 1764327900000, From: 1764327900 << 20})
	statement(&Start{Time: 1764328000000, Origin: keys[0].Origin(), From: 1764328000 << 20, Previous: "x\n1\ny\n\n\u2014 x z\n"})
	for i := range 4 {
		salt := sha256.Sum256([]byte{byte(i)})
		add(salt, (&LedgerLine{ID: 1764328000<<20 + int64(i), Node: "local", Time: 1764328000000 + int64(i), Kind: "reload"}).Append(nil))
	}
	var grown Tree
	root := func() {
		h := grown.Root()
		v.Roots = append(v.Roots, rootVector{grown.Size(), hex.EncodeToString(h[:])})
		c, err := keys[0].Sign(grown.Size(), h)
		if err != nil {
			t.Fatal(err)
		}
		v.Checkpoints = append(v.Checkpoints, string(c))
	}
	for _, n := range nodes {
		root()
		grown.Add(n.Hash)
	}
	root()
	v.Cover = cover(nodes, 1, 3, v.Boundary)
	first := v.Checkpoints[len(v.Checkpoints)-1]
	v.Refused = map[string][]string{
		"checkpoint": {
			string(bytes.Replace([]byte(first), []byte("\n13\n"), []byte("\n12\n"), 1)),
			string(bytes.Replace([]byte(first), []byte("\n13\n"), []byte("\n013\n"), 1)), first[:len(first)-1], first + "\n", "",
			string(bytes.Replace([]byte(first), []byte("\n\n"), []byte("\nmore\n\n"), 1)), v.Handover,
		},
		"handover": {first, string(bytes.Replace([]byte(v.Handover), []byte("\n6\n"), []byte("\n7\n"), 1)), ""},
	}
	return v
}

// cover is the cover of leaves in which those from one to before another are single.
func cover(leaves []Node, from, to int64, boundaries ...int64) (pairs []pairVector) {
	cuts := append(append([]int64{0}, from, to), boundaries...)
	cuts = append(cuts, int64(len(leaves)))
	for i := 1; i < len(cuts); i++ {
		at, levels := cuts[i-1], spans(cuts[i-1], cuts[i])
		if at == from {
			levels = make([]int, to-from)
		}
		for _, level := range levels {
			var t Tree
			for range int64(1) << level {
				t.Add(leaves[at].Hash)
				at++
			}
			h := t.Root()
			pairs = append(pairs, pairVector{level, hex.EncodeToString(h[:])})
		}
	}
	return pairs
}

// TestVectors holds the format: who changes what is in the file breaks every
// verifier and every log there is.
func TestVectors(t *testing.T) {
	const path = "testdata/vectors.json"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	v := makeVectors(t)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s is not what the package makes (-update writes it anew; a log that is there could not be checked any more)", path)
	}
	for what, texts := range v.Refused {
		for _, text := range texts {
			if what == "checkpoint" {
				if c, err := OpenCheckpoint([]byte(text), v.Keys...); err == nil {
					t.Errorf("taken for a checkpoint: %q: %+v", text, c)
				}
			} else if h, err := OpenHandover([]byte(text)); err == nil {
				t.Errorf("taken for a hand-over: %q: %+v", text, h)
			}
		}
	}
	for _, l := range v.Leaves {
		if !json.Valid([]byte(l.Line)) {
			t.Errorf("not JSON: %s", l.Line)
		}
		if _, err := KindOf([]byte(l.Line)); err != nil {
			t.Error(err)
		}
	}
}
