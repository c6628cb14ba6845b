package dnstap

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

var whole = Message{
	Identity: []byte("attic"), Version: []byte("telltale 1"), Extra: []byte(`{"verdict":"block"}`), Kind: ClientResponse, Protocol: QUIC,
	Client: []byte{192, 0, 2, 1}, ClientPort: 40000, QueryTime: time.Unix(1_800_000_000, 999_999_999), ReplyTime: time.Unix(1_800_000_001, 1), Query: []byte("query"), Reply: []byte("reply"),
}

func TestAMessageIsReadAsItWasWritten(t *testing.T) {
	for _, m := range []Message{whole, {Kind: ClientQuery}, {Kind: ClientQuery, Client: make([]byte, 16), QueryTime: time.Unix(1, 0)}} {
		got, err := Parse(m.Append(nil))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, %v, want %+v", got, err, m)
		}
	}
}

// The octets are those of dnstap.proto, field by field.
func TestOctets(t *testing.T) {
	m := Message{Identity: []byte("a"), Extra: []byte("b"), Kind: ClientQuery, Protocol: UDP, Client: []byte{192, 0, 2, 1}, ClientPort: 300, QueryTime: time.Unix(5, 7), Query: []byte("q")}
	want := []byte("\x0a\x01a" + "\x1a\x01b" + "\x78\x01" + "\x72\x19" + "\x08\x05" + "\x10\x01" + "\x18\x01" + "\x22\x04\xc0\x00\x02\x01" + "\x30\xac\x02" + "\x40\x05" + "\x4d\x07\x00\x00\x00" + "\x52\x01q")
	if got := m.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := AppendControl(nil, ControlStart, "ab"), "\x00\x00\x00\x00\x00\x00\x00\x0e\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x02ab"; string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole.Append(nil))
	f.Add([]byte{0x72, 0x7f})
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := Parse(body)
		if err != nil {
			return
		}
		again, err := Parse(m.Append(nil))
		if err != nil {
			t.Fatalf("%+v is written as what cannot be read: %v", m, err)
		}
		if len(m.Query) != len(again.Query) || m.Kind != again.Kind || !bytes.Equal(m.Reply, again.Reply) {
			t.Errorf("got %+v, want %+v", again, m)
		}
	})
}
