package dnswire

import (
	"bytes"
	"testing"
)

// lowerSlowly is lower case octet by octet.
func lowerSlowly(b []byte) []byte {
	b = bytes.Clone(b)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// Words of eight octets are an implementation's affair: every octet is lower-cased alike at
// every place, and at the very end of a packet.
func TestEveryOctetIsLowerCasedAtEveryPlace(t *testing.T) {
	for size := 1; size <= 40; size++ {
		for c := range 256 {
			for at := range size {
				label := bytes.Repeat([]byte{'M'}, size)
				label[at] = byte(c)
				packet := append(append([]byte{byte(size)}, label...), 0)
				for _, behind := range []string{"", "XYZ", "XYZXYZXYZXYZ"} {
					var n Name
					end, err := n.Read(append(packet, behind...), 0)
					if err != nil || end != len(packet) {
						t.Fatalf("%q: got %d, %v", packet, end, err)
					}
					if want := lowerSlowly(packet); !bytes.Equal(n.Wire(), want) {
						t.Fatalf("%q: got %q, want %q", packet, n.Wire(), want)
					}
				}
			}
		}
	}
}

func TestTheLongestNameIsLowerCased(t *testing.T) {
	var packet []byte
	for _, l := range []int{63, 63, 63, 61} {
		packet = append(append(packet, byte(l)), bytes.Repeat([]byte{'Q'}, l)...)
	}
	packet = append(packet, 0)
	var n Name
	if end, err := n.Read(append(packet, "more than enough behind it"...), 0); err != nil || end != MaxName {
		t.Fatalf("got %d, %v", end, err)
	}
	if want := lowerSlowly(packet); !bytes.Equal(n.Wire(), want) {
		t.Errorf("got %q, want %q", n.Wire(), want)
	}
}
