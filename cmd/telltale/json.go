package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// encoder returns the encoder of what --json prints.
func (cl *cli) encoder() *json.Encoder { return jsonEncoder(cl.out) }

func jsonEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(&jsonWriter{out: w})
	enc.SetEscapeHTML(false)
	return enc
}

// A jsonWriter passes JSON on with every character escaped that could control a
// terminal or change the order of what it shows: C1 controls, DEL, bidirectional
// marks and all else that does not print. They can only be within strings, whose
// value stays the same.
type jsonWriter struct {
	out  io.Writer
	rest []byte // the beginning of a character whose end has not come
}

func (w *jsonWriter) Write(p []byte) (int, error) {
	in := append(w.rest, p...)
	out := make([]byte, 0, len(in)+len(in)/8)
	w.rest = nil
	for len(in) > 0 {
		r, n := utf8.DecodeRune(in)
		switch {
		case r == utf8.RuneError && !utf8.FullRune(in):
			w.rest = append([]byte(nil), in...)
			n = len(in)
		case r < 0x7f || strconv.IsPrint(r): // encoding/json has escaped C0 controls
			out = append(out, in[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		in = in[n:]
	}
	if _, err := w.out.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
