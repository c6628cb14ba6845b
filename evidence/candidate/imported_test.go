package candidate

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"telltale/evidence/household"
	"telltale/evidence/rhythm"
	"telltale/querylog"
)

// importedLog has one imported attempt at each of some names.
type importedLog struct {
	rhythm.Log
	at time.Time
}

func (l importedLog) Begun(context.Context, querylog.Filter, bool) iter.Seq2[*querylog.Row, error] {
	return func(yield func(*querylog.Row, error) bool) {
		for _, name := range []string{"data.eu.example", "telemetry.example"} {
			if !yield(&querylog.Row{Time: querylog.Time{Time: l.at}, Device: "tv", Name: name, Attempts: 3, Imported: "dnsmasq"}, nil) {
				return
			}
		}
	}
}

// Imported attempts are weighed in no candidate, and it is said that they are left out.
func TestImportedAttemptsAreLeftOutAndSaid(t *testing.T) {
	since := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	log := importedLog{homeLog{&household.Home{}}, since.Add(time.Hour)}
	f, err := Find(t.Context(), log, Options{Since: since, Until: since.AddDate(0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if f.Names != 0 || !strings.Contains(strings.Join(f.Caveats, " "), "6 attempts were imported") {
		t.Errorf("%d names, %q", f.Names, f.Caveats)
	}
}
