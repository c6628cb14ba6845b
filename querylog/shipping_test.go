package querylog

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Rows that retention deletes before they were shipped are told in the ledger; those that were shipped are not.
func TestRowsThatAreDeletedUnshippedAreTold(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	for _, c := range []struct {
		name    string
		shipped bool
		want    int
	}{{"not shipped", false, 1}, {"shipped", true, 0}} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, Options{Dir: dir, Retention: Retention{Listed: 24 * time.Hour}, Shipping: ListedShipped})
			for range 3 {
				l.Append([]Record{lookup(t, p, time.Now(), phone(6), "tracker.example")})
				time.Sleep(time.Hour)
			}
			if c.shipped {
				if err := l.SetCursor(context.Background(), Cursor{Shipped: time.Now().Unix()}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(72 * time.Hour)
			closeLog(t, l)
			got := 0
			for _, e := range events(t, dir) {
				if e.Kind == KindUnshipped {
					got++
					if e.Since.IsZero() || e.Until.Before(e.Since.Time) || e.Detail != "3 rows were deleted by age or size before they were shipped to the centre" {
						t.Errorf("got %+v", e)
					}
				}
			}
			if got != c.want {
				t.Errorf("%s: got %d lines, want %d", c.name, got, c.want)
			}
		})
	}
}
