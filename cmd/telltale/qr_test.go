package main

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var updateQR = flag.Bool("update-qr", false, "write testdata/checkpoint-qr.golden anew")

const checkpointText = "telltale/0123456789abcdef\n20852\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n" +
	"— telltale/0123456789abcdef So3q5e/96msb4yEab4dTK2+cx80lH/OSc6/B9wCKwMAsBY5VMdWbFYcm1fexnBfBk35cj8Mt9szdKoIdAn8vQ3Z+KQk=\n"

// modules reads a drawing back: which modules are light.
func modules(t *testing.T, drawing string, blocks bool) (rows []string) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSuffix(drawing, "\n"), "\n") {
		if !blocks {
			rows = append(rows, strings.ReplaceAll(strings.ReplaceAll(line, "##", "1"), "  ", "0"))
			continue
		}
		above := strings.NewReplacer("█", "1", "▀", "1", "▄", "0", " ", "0").Replace(line)
		rows = append(rows, above, strings.NewReplacer("█", "1", "▀", "0", "▄", "1", " ", "0").Replace(line))
	}
	return rows
}

// The golden was read by a QR reader once, and is the text.
func TestACheckpointAsAQRCode(t *testing.T) {
	const golden = "testdata/checkpoint-qr.golden"
	drawn, err := drawQR(checkpointText, true, false)
	if err != nil {
		t.Fatal(err)
	}
	if *updateQR {
		if err := os.WriteFile(golden, []byte(drawn), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || drawn != string(want) {
		t.Errorf("%v; got\n%s", err, drawn)
	}
	plain, err := drawQR(checkpointText, false, false)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsFunc(plain, func(r rune) bool { return r > '~' }) {
		t.Errorf("it is not ASCII:\n%s", plain)
	}
	blocks, ascii := modules(t, drawn, true), modules(t, plain, false)
	if len(ascii) != len([]rune(ascii[0])) || len(blocks) != len(ascii)+1 || strings.Join(blocks[:len(ascii)], "\n") != strings.Join(ascii, "\n") {
		t.Errorf("both forms are not the same code: %d and %d rows", len(blocks), len(ascii))
	}
	for _, utf8 := range []bool{true, false} {
		colours, err := drawQR(checkpointText, utf8, true)
		if err != nil || strings.Count(colours, "\x1b[0m\n") != strings.Count(colours, "\n") {
			t.Errorf("%v; a line does not end its colours:\n%q", err, colours)
		}
	}
	if _, err := drawQR(strings.Repeat("x", 3000), true, false); err == nil {
		t.Error("a text that no QR code holds is drawn")
	}
}

func TestShowsUTF8(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]bool{
		"": false, "LANG=de_DE.UTF-8": true, "LANG=C.utf8": true, "LANG=C": false, "LANG=de_DE.ISO-8859-1": false, "XLANG=C.UTF-8": false,
		"LANG=C.UTF-8 LC_ALL=C": false, "LANG=C LC_CTYPE=C.UTF-8": true, "LANG=C.UTF-8 LC_ALL=": true,
	} {
		if got := showsUTF8(strings.Fields(env)); got != want {
			t.Errorf("%q: got %v", env, got)
		}
	}
}
