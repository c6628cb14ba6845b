package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A progressBar shows a person how far something is that takes a while. A nil one shows
// nothing.
type progressBar struct {
	out  io.Writer
	what string
	last time.Time // when it was shown last, or begun
	wide int       // of what is shown
}

// newProgress begins one where a person sees it.
func (cl *cli) newProgress(what string) *progressBar {
	if !isTerminal(cl.err) {
		return nil
	}
	return &progressBar{out: cl.err, what: what, last: time.Now()}
}

const (
	progressEvery = 200 * time.Millisecond
	progressWide  = 24 // of the bar
)

// show shows how much is done, 0 to 1, and more of it in words.
func (p *progressBar) show(done float64, detail string) {
	if p == nil || time.Since(p.last) < progressEvery {
		return
	}
	p.last = time.Now()
	done = min(max(done, 0), 1)
	full := int(done * progressWide)
	line := fmt.Sprintf("%s [%s%s] %3d %%", p.what, strings.Repeat("#", full), strings.Repeat(" ", progressWide-full), int(100*done))
	if detail != "" {
		line += "  " + detail
	}
	fmt.Fprintf(p.out, "\r%-*s", p.wide, line)
	p.wide = max(p.wide, len(line))
}

// end takes away what is shown.
func (p *progressBar) end() {
	if p != nil && p.wide > 0 {
		fmt.Fprintf(p.out, "\r%s\r", strings.Repeat(" ", p.wide))
		p.wide = 0
	}
}
