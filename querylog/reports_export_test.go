//go:build unix

package querylog

import (
	"math"
	"testing"
)

// FillMonth stores thirty days of rows of a home of 25 devices, 25,920 a day and all of listed names, and their
// sums; it returns when they begin, Unix seconds.
func FillMonth(b *testing.B, dir string) (begin int64) {
	s, err := openStore(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	h, at := newSizeHome(100), int64(sizeFirstTime)
	for range 30 * 24 * 60 * 60 / (2 * sizeWindow) {
		if _, _, err := s.commit(&windowData{number: at, node: "n", clock: clockMark{wall: at * 1000}, entries: h.window(at, 36)}); err != nil {
			b.Fatal(err)
		}
		at += 2 * sizeWindow
	}
	for more := true; more; {
		if more, err = s.sumStep(1_000, math.MaxInt64); err != nil {
			b.Fatal(err)
		}
	}
	return sizeFirstTime
}

// FillYear stores the hourly totals of a year of a home of 25 devices, each of eight kinds of lookups in every
// second hour; it returns when they begin, Unix seconds, and how many there are.
func FillYear(b *testing.B, dir string) (begin int64, totals int) {
	s, err := openStore(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	first := int64(sizeFirstTime / 3600)
	node, err := s.numbered("node", s.nodes, "n")
	if err != nil {
		b.Fatal(err)
	}
	h := newSizeHome(0)
	err = s.transact(func() error {
		if err := s.setMeta(metaTotalsFrom, 1); err != nil {
			return err
		}
		for d, device := range h.devices {
			for kind := range 8 {
				of := totalOf{node: node, device: device.Device, verdict: 1}
				if kind > 0 {
					a := h.listed[(d+kind)%14+sizeVendors*(kind%3)].annotation
					of.vendor, of.product, of.purpose, of.tier, of.verdict = a.Vendor, a.Product, a.Purpose, a.Tier, 2
				}
				for hour := range int64(365 * 24) {
					if (int(hour)*31+8*d+17*kind)%100 >= 47 {
						continue
					}
					begin := (first + hour) * hourMilli
					sum := &windowSum{of: of, lookups: uint64(10 + kind), attempts: uint64(3 + kind), first: begin + 1000, last: begin + 3_500_000}
					if err := s.totals.store(first+hour, sum); err != nil {
						return err
					}
					totals++
				}
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return first * 3600, totals
}
