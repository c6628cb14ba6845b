package format

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"

	"github.com/ulikunitz/xz"
	"golang.org/x/text/encoding/unicode"
)

const openText = "ads.example\ntracker.example\n"

func gzipped(t testing.TB, s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func xzed(t testing.TB, s string, c xz.WriterConfig) []byte {
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, s)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, name, s string, method uint16) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, s)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOpen(t *testing.T) {
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(openText)
	if err != nil {
		t.Fatal(err)
	}
	small := xz.WriterConfig{DictCap: 1 << 16}
	two := append(xzed(t, openText[:12], small), xzed(t, openText[12:], xz.WriterConfig{CheckSum: xz.CRC32})...)
	for _, c := range []struct {
		name string
		in   []byte
		want string
		err  error // any error where it is io.EOF
	}{
		{"plain text stays as it is", []byte(openText), openText, nil},
		{"an empty file stays empty", nil, "", nil},
		{"gzip is unpacked", gzipped(t, openText), openText, nil},
		{"gzip that is cut short fails", gzipped(t, openText)[:20], "", io.ErrUnexpectedEOF},
		{"xz is unpacked", xzed(t, openText, small), openText, nil},
		{"xz with a SHA-256 check is unpacked", xzed(t, openText, xz.WriterConfig{CheckSum: xz.SHA256}), openText, nil},
		{"xz without a check is unpacked", xzed(t, openText, xz.WriterConfig{NoCheckSum: true}), openText, nil},
		{"xz of several blocks is unpacked", xzed(t, openText, xz.WriterConfig{BlockSize: 5}), openText, nil},
		{"xz of several streams is unpacked", append(two, 0, 0, 0, 0), openText, nil},
		{"xz that is cut short fails", xzed(t, openText, small)[:40], "", io.EOF},
		{"xz with a wrong bit fails", flip(xzed(t, openText, small), 40), "", io.EOF},
		{"xz with a huge dictionary is refused", xzed(t, openText, xz.WriterConfig{DictCap: 128 << 20}), "", errXZ},
		{"zip is unpacked", zipped(t, "a.txt", openText, zip.Deflate), openText, nil},
		{"zip that is cut short fails", zipped(t, "a.txt", openText, zip.Deflate)[:50], "", io.ErrUnexpectedEOF},
		{"zip that begins with a folder is refused", zipped(t, "a/", "", zip.Store), "", io.EOF},
		{"UTF-16 is read by its byte order mark", []byte(utf16), openText, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Open(bytes.NewReader(c.in))
			var got []byte
			if err == nil {
				got, err = io.ReadAll(r)
			}
			switch {
			case c.err == nil && (err != nil || string(got) != c.want):
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			case c.err != nil && err == nil:
				t.Errorf("got %q and no error", got)
			case c.err != nil && c.err != io.EOF && !errors.Is(err, c.err):
				t.Errorf("got error %v, want %v", err, c.err)
			}
		})
	}
}

func flip(b []byte, at int) []byte {
	b[at] ^= 1
	return b
}

// TestBomb unpacks 20 MB of nothing from a few kilobytes, up to the limit.
func TestBomb(t *testing.T) {
	for name, bomb := range map[string][]byte{
		"gzip": gzipped(t, string(make([]byte, 20<<20))),
		"zip":  zipped(t, "a", string(make([]byte, 20<<20)), zip.Deflate),
	} {
		r, err := OpenLimit(bytes.NewReader(bomb), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if !errors.Is(err, ErrExpanded) || n > 1<<20 {
			t.Errorf("%s: got %d bytes and error %v, want at most 1 MiB and %v", name, n, err, ErrExpanded)
		}
	}
}
