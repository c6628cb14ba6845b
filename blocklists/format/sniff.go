package format

import (
	"bytes"
	"unicode/utf8"
)

// sniff says what a file is by its beginning. A list is never refused for a
// stray byte: only where control bytes are the rule.
func sniff(head []byte) Content {
	if len(head) == 0 {
		return Empty
	}
	head = head[:min(len(head), 4096)]
	for _, magic := range []string{"\x1f\x8b", "\xfd7zXZ\x00", "PK\x03\x04", "BZh", "\x28\xb5\x2f\xfd", "\x7fELF", "\x89PNG", "%PDF-"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return Binary
		}
	}
	control := 0
	for _, c := range head {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' || c == 0x7f {
			control++
		}
	}
	if control*32 > len(head) && (control > 3 || control*2 > len(head)) {
		return Binary
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")))
	switch {
	case bytes.HasPrefix(text, []byte("<")): // no form of line begins so
		return HTML
	case bytes.HasPrefix(text, []byte("{")):
		return JSON
	case bytes.HasPrefix(text, []byte("[")):
		if rest := bytes.TrimLeft(text[1:], " \t\r\n"); len(rest) == 0 || rest[0] == '"' || rest[0] == '{' {
			return JSON
		}
	}
	return Text
}

// utf8Text reads a line as UTF-8 or, where it is not that, as Latin-1.
func utf8Text(line []byte) string {
	if utf8.Valid(line) {
		return string(line)
	}
	runes := make([]rune, len(line))
	for i, c := range line {
		runes[i] = rune(c)
	}
	return string(runes)
}
