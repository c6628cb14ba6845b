package main

import (
	"time"

	"telltale/dnswire"
	"telltale/web"
)

// cached returns what the cache has of a name.
func (a *app) cached(name string) ([]web.CachedAnswer, error) {
	n, err := parseName(name)
	if err != nil {
		return nil, web.Invalid(err)
	}
	all := []web.CachedAnswer{}
	for _, c := range a.server.Cached(&n) {
		w := web.CachedAnswer{
			Name: n.String(), Type: "any", DNSSEC: c.Question.DO, CheckingDisabled: c.Question.CD, For: c.For, State: c.State.String(),
			Left: int64(c.Left / time.Second), Stored: c.Stored.UTC(), Hits: c.Hits, Rcode: dnswire.RcodeString(uint8(c.Rcode)), Error: c.EDE.Text, Answer: []string{},
		}
		if c.Question.Type != 0 {
			w.Type = dnswire.TypeString(c.Question.Type)
		}
		w.Answer = append(w.Answer, c.Answer...)
		all = append(all, w)
	}
	return all, nil
}

// flushCache forgets a name, or all where it is "".
func (a *app) flushCache(name string) (web.Flushed, error) {
	if name == "" {
		return web.Flushed{Entries: a.server.FlushCache()}, nil
	}
	n, err := parseName(name)
	if err != nil {
		return web.Flushed{}, web.Invalid(err)
	}
	return web.Flushed{Entries: a.server.FlushName(&n)}, nil
}

func (a *app) cacheStats() web.CacheStats {
	u, counted := a.server.CacheUsage(), a.server.Stats()
	st := web.CacheStats{
		Entries: u.Entries, Bytes: u.Bytes, Size: u.Size, States: map[string]int{}, Evicted: u.Evicted, Stale: counted.Stale, Prefetched: counted.Prefetched,
	}
	for state, n := range u.States {
		st.States[state.String()] = n
	}
	if k, ok := a.server.Kept(); ok {
		st.Kept = &web.KeptAnswers{File: k.File, Restored: k.Restored, Age: int64(k.Age / time.Second), Waiting: k.Waiting, Unused: k.Unused, Failed: k.Failed}
		if !k.Saved.IsZero() {
			saved := k.Saved.UTC()
			st.Kept.Saved = &saved
		}
	}
	return st
}
