package querylog

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale/devices"
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

// shippedOf closes a log and returns all that is shipped of it, packed.
func shippedOf(t *testing.T, l *Log, dir string, o BatchOptions) (text string, bound map[string]bool) {
	t.Helper()
	closeLog(t, l)
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	bound = map[string]bool{}
	for from := int64(0); ; {
		b, err := r.Batch(context.Background(), from, o)
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			return text, bound
		}
		for i := range b.Bindings {
			bound[b.Bindings[i].Name] = true
		}
		text += string(b.Append(nil))
		from = b.To
	}
}

func TestWhatIsKnownOfDevicesWithoutLoggedLookupsIsNotShipped(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, Retention: Retention{Listed: -1, Unlisted: -1, Totals: -1}})
		device := func(id uint64, mac, name string) *devices.Binding {
			b := phone(id)
			b.Device, b.MAC, b.Name, b.From = "mac:"+mac, mac, name, time.Now()
			return b
		}
		listed, plain := device(1, "02:00:00:00:00:01", "television"), device(2, "02:00:00:00:00:02", "laptop")
		silent, secret := device(3, "02:00:00:00:00:03", "neighbour"), device(4, "02:00:00:00:00:04", "diary")
		secret.NoLog = true
		for _, b := range []*devices.Binding{listed, plain, silent, secret} {
			l.KeepBinding(*b)
		}
		l.Append([]Record{lookup(t, p, time.Now(), listed, "tracker.example")})
		time.Sleep(time.Hour) // the laptop's binding is an old one when it asks
		l.Append([]Record{lookup(t, p, time.Now(), plain, "shop.example"), lookup(t, p, time.Now(), secret, "tracker.example")})
		text, bound := shippedOf(t, l, dir, BatchOptions{Rows: 1})
		for name, want := range map[string]bool{"television": true, "laptop": true, "neighbour": false, "diary": false} {
			if got := bound[name]; got != want {
				t.Errorf("%s: a binding is shipped: got %v, want %v", name, got, want)
			}
			if got := strings.Contains(text, name); got != want {
				t.Errorf("%s is in what is shipped: got %v, want %v", name, got, want)
			}
		}
	})
}

func TestLinesSayNamesThatNoListHasOnlyWithTheirRows(t *testing.T) {
	t.Parallel()
	for _, unlisted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, Options{Dir: dir, Retention: Retention{Listed: -1, Unlisted: -1, Totals: -1}})
			l.Report("rule", "secret.example", "allow for everyone until 2026-11-29T00:00:00Z")
			l.Report("rule-ended", "@@secret.example$until=2026-11-29T00:00:00Z", "its time was over")
			l.Report("change", "command", "add-rule allow secret.example")
			l.Report("list-failed", "ads", "it does not answer")
			text, _ := shippedOf(t, l, dir, BatchOptions{Unlisted: unlisted})
			if got := strings.Contains(text, "secret.example"); got != unlisted {
				t.Errorf("unlisted %v: the name is in what is shipped: got %v", unlisted, got)
			}
			for _, want := range []string{"rule", "rule-ended", "change", "it does not answer"} {
				if !strings.Contains(text, want) {
					t.Errorf("unlisted %v: %q is not shipped", unlisted, want)
				}
			}
		})
	}
}

// A copy becomes another store in the middle of an hour: the totals of both stores together are those of the log, and no lookup is in two.
func TestTotalsOfAnHourOfTwoStoresAreShippedOnce(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	synctest.Test(t, func(t *testing.T) {
		dir, ctx := t.TempDir(), context.Background()
		l := open(t, Options{Dir: dir})
		time.Sleep(20 * time.Minute) // in the hour that it begins in, and the next
		for n := range 8 {
			l.Append([]Record{lookup(t, p, time.Now(), phone(6), "tracker.example"), lookup(t, p, time.Now(), phone(7), "shop.example")})
			time.Sleep(10 * time.Minute)
			if n == 2 { // at ten minutes to the hour
				if err := l.BecomeOther(ctx, time.Now().Unix()); err != nil {
					t.Fatal(err)
				}
			}
		}
		closeLog(t, l)
		r, err := OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		type key struct {
			store string
			hour  int64
		}
		most := map[key]uint64{} // of what comes again the centre keeps the larger
		stores := map[string]bool{}
		for from := int64(0); ; {
			b, err := r.Batch(ctx, from, BatchOptions{Unlisted: true, Rows: 1})
			if err != nil {
				t.Fatal(err)
			}
			if b == nil {
				break
			}
			sums := map[key]uint64{}
			for i := range b.Totals {
				sums[key{b.Store, b.Totals[i].Hour.UnixMilli()}] += b.Totals[i].Lookups
			}
			for k, n := range sums {
				most[k] = max(most[k], n)
			}
			stores[b.Store] = true
			from = b.To
		}
		got := uint64(0)
		for _, n := range most {
			got += n
		}
		if len(stores) != 2 || got != 16 {
			t.Errorf("got totals of %d lookups of %d stores, want 16 of 2: %v", got, len(stores), most)
		}
	})
}
