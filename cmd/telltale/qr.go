package main

import (
	"slices"
	"strings"

	"rsc.io/qr"
)

// quietZone is how many light modules a reader wants around a code (ISO/IEC 18004).
const quietZone = 4

// drawQR draws a text as a QR code: with half blocks, two modules one above the other in a
// character, or else with two spaces or # for a module. With colours it is dark on light
// whatever colours the terminal has; without, light modules are drawn, as for a terminal
// that is light on dark. Readers that know no inverted codes need that.
func drawQR(text string, blocks, colours bool) (string, error) {
	code, err := qr.Encode(text, qr.L) // the smallest: it is read from a screen
	if err != nil {
		return "", err
	}
	light := func(x, y int) bool { return !code.Black(x, y) }
	lines, end := 1, code.Size+quietZone
	if blocks {
		lines = 2
	}
	var b strings.Builder
	for y := -quietZone; y < end; y += lines {
		if colours && blocks {
			b.WriteString("\x1b[38;5;231;48;5;16m") // white on black, of the colours that themes leave alone
		}
		for x := -quietZone; x < end; x++ {
			switch {
			case blocks && y+1 < end:
				b.WriteString(halfBlock(light(x, y), light(x, y+1)))
			case blocks: // an odd number of rows: nothing is below the last one
				b.WriteString(halfBlock(light(x, y), false))
			case colours && light(x, y):
				b.WriteString("\x1b[48;5;231m  ")
			case colours:
				b.WriteString("\x1b[48;5;16m  ")
			case light(x, y):
				b.WriteString("##")
			default:
				b.WriteString("  ")
			}
		}
		if colours {
			b.WriteString("\x1b[0m")
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

func halfBlock(above, below bool) string {
	switch {
	case above && below:
		return "█"
	case above:
		return "▀"
	case below:
		return "▄"
	}
	return " "
}

// showsUTF8 reports whether the terminal's characters are UTF-8, as the environment says it.
func showsUTF8(env []string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // POSIX: the first that is set and not empty
		i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") && len(v) > len(name)+1 })
		if i >= 0 {
			charset := strings.ToLower(strings.ReplaceAll(env[i], "-", ""))
			return strings.Contains(charset, "utf8")
		}
	}
	return false
}
