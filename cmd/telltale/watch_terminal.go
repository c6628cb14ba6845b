//go:build !small

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gdamore/tcell/v3"

	"telltale/liveview"
)

// drawEvery is how often the screen is drawn at most, and at least once in redrawAfter: the
// rate changes also where nothing comes.
const (
	drawEvery   = 200 * time.Millisecond
	redrawAfter = time.Second
)

// draw shows the view on the terminal, and hands on keys, until the end.
func (w *watcher) draw(ctx context.Context, failed <-chan error) error {
	screen, err := tcell.NewScreen()
	if err == nil {
		err = screen.Init()
	}
	if err != nil {
		return fmt.Errorf("the terminal cannot be drawn on: %w; 'telltale log --follow' prints rows as they come", err)
	}
	defer screen.Fini()
	w.show(screen)
	again := time.NewTimer(redrawAfter)
	defer again.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-w.changed:
			again.Reset(max(drawEvery-time.Since(last), 0))
			continue
		case <-again.C:
		case e, ok := <-screen.EventQ():
			if !ok {
				return nil
			}
			switch e := e.(type) {
			case *tcell.EventKey:
				if key := keyName(e); key != "" && w.press(ctx, key) {
					return nil
				}
			case *tcell.EventResize:
				screen.Sync()
			case *tcell.EventError:
				return fmt.Errorf("the terminal: %w", e)
			default:
				continue
			}
		}
		w.show(screen)
		last = time.Now()
		again.Reset(redrawAfter)
	}
}

// keyNames are the keys that are no characters, in the words of the view.
var keyNames = map[tcell.Key]string{
	tcell.KeyUp: "up", tcell.KeyDown: "down", tcell.KeyPgUp: "pgup", tcell.KeyPgDn: "pgdn", tcell.KeyHome: "home", tcell.KeyEnd: "end",
	tcell.KeyEnter: "enter", tcell.KeyEscape: "esc", tcell.KeyTab: "tab", tcell.KeyBacktab: "backtab", tcell.KeyBackspace: "backspace", tcell.KeyDelete: "backspace",
	tcell.KeyCtrlC: "ctrl-c", tcell.KeyCtrlU: "ctrl-u",
}

func keyName(e *tcell.EventKey) string {
	if !e.Pressed() {
		return ""
	}
	if e.Key() == tcell.KeyRune {
		if e.Modifiers()&(tcell.ModCtrl|tcell.ModAlt|tcell.ModMeta) != 0 {
			return ""
		}
		return e.Str()
	}
	if e.Key() == tcell.KeyTab && e.Modifiers()&tcell.ModShift != 0 {
		return "backtab"
	}
	return keyNames[e.Key()]
}

// styles are what the styles of a view look like; the colours are the terminal's own.
var styles = map[liveview.Style]tcell.Style{
	liveview.Head:     tcell.StyleDefault.Bold(true),
	liveview.Chosen:   tcell.StyleDefault.Bold(true),
	liveview.Dim:      tcell.StyleDefault.Dim(true),
	liveview.Blocked:  tcell.StyleDefault.Foreground(tcell.PaletteColor(1)),
	liveview.Allowed:  tcell.StyleDefault.Foreground(tcell.PaletteColor(2)),
	liveview.Observed: tcell.StyleDefault.Foreground(tcell.PaletteColor(3)),
	liveview.Answered: tcell.StyleDefault.Foreground(tcell.PaletteColor(6)),
	liveview.Alert:    tcell.StyleDefault.Bold(true).Foreground(tcell.PaletteColor(3)),
}

// show draws the view. What it does not lock is the terminal, which may be slow.
func (w *watcher) show(screen tcell.Screen) {
	width, height := screen.Size()
	w.mu.Lock()
	w.view.Resize(width, height)
	lines := w.view.Screen(time.Now())
	w.mu.Unlock()
	screen.Clear()
	for y := range lines {
		if lines[y].Selected {
			screen.FillArea(0, y, width, 1, ' ', tcell.StyleDefault.Reverse(true))
		}
		x := 0
		for _, s := range lines[y].Spans {
			style := styles[s.Style]
			if lines[y].Selected {
				style = style.Reverse(true)
			}
			for text, n := s.Text, 0; text != ""; x += max(n, 1) {
				text, n = screen.Put(x, y, text, style)
			}
		}
	}
	screen.Show()
}
