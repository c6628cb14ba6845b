package blocklists

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"telltale/dnswire"
)

// trialMark ends each line of a trial in the user's own file, and no other line.
const trialMark = "# a trial of 'telltale broke', which goes by itself"

// A Trial lets a name and everything below it through for some clients, for a time.
type Trial struct {
	Name    dnswire.Name
	Clients []string // as $client takes them; one at least
	Until   time.Time
}

// SetTrials makes some trials those that stand in the user's own file: their lines are
// its last, and those of earlier trials go. Every other line stays as it is, and says what
// it said.
func SetTrials(path string, trials []Trial) error {
	if len(trials) == 0 && !hasTrials(path) {
		return nil
	}
	var lines []string
	for i := range trials {
		line, err := trials[i].line()
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	return editFile(path, func(f *ownText) error {
		f.removeTrials()
		if len(lines) == 0 {
			return nil
		}
		if n := len(f.lines); n > 0 && !strings.HasSuffix(f.lines[n-1], "\n") {
			f.lines[n-1] += f.end
		}
		f.lines = append(f.lines, "#@ "+trialMark+f.end) // ends what the lines above say of those below
		for _, line := range lines {
			f.lines = append(f.lines, line+f.end)
		}
		return nil
	})
}

// removeTrials takes out the lines of trials. What was added behind them meanwhile begins
// without annotations, as it did.
func (f *ownText) removeTrials() {
	lines := f.lines
	f.lines = nil
	removed := false
	for _, line := range lines {
		if strings.HasSuffix(strings.TrimRight(line, "\r\n"), trialMark) {
			removed = true
			continue
		}
		if removed && f.annotatesNext() {
			f.lines = append(f.lines, "#@"+f.end)
		}
		removed = false
		f.lines = append(f.lines, line)
	}
}

// hasTrials reports whether a file has lines of trials.
func hasTrials(path string) bool {
	text, err := os.ReadFile(path)
	return err != nil && !errors.Is(err, fs.ErrNotExist) || bytes.Contains(text, []byte(trialMark))
}

// line writes the rule of a trial.
func (t *Trial) line() (string, error) {
	var clients []string
	for _, c := range t.Clients {
		clients = append(clients, quoted(c))
	}
	if len(clients) == 0 || t.Until.IsZero() {
		return "", errors.New("a trial is for somebody, and has an end")
	}
	line := "@@||" + t.Name.String() + "^$client=" + strings.Join(clients, "|") + "  #@ until=" + t.Until.UTC().Format(time.RFC3339) + "  " + trialMark
	return line, sameRule(line, Allow, &t.Name)
}
