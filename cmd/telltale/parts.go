package main

import (
	"context"
	"errors"
	"fmt"

	"telltale/config"
	"telltale/web"
)

// What the program for small machines (-tags small) is built without. small is a
// constant, so that what stands behind "if !small" is not linked into it.

// errAbsent says that something is not in this program, and what to do.
func errAbsent(what string) error {
	return errors.New("this program was built without " + what + " (-tags small): use the full one, here or elsewhere on a copy of the data ('telltale backup')")
}

// absentCall is what the API calls for a part that is not in this program.
func absentCall[In, Out any](what string) func(context.Context, In) (Out, error) {
	return func(context.Context, In) (out Out, err error) { return out, web.Invalid(errAbsent(what)) }
}

// absentMistakes finds settings for parts that are not in this program.
func absentMistakes(cfg *config.Config) (all config.Mistakes) {
	if !small {
		return nil
	}
	absent := func(key, found, what string) {
		all = append(all, cfg.Mistake(key, found, "nothing here: "+errAbsent(what).Error(), nil))
	}
	for i, addr := range cfg.Listen.QUIC {
		absent(fmt.Sprintf("listen.quic[%d]", i), addr.String(), "QUIC")
	}
	upstream := func(key string, a *config.ServerAddress) {
		if a.Transport == "quic" || a.Transport == "h3" {
			absent(key, a.String(), "QUIC and HTTP/3")
		}
	}
	for i := range cfg.Upstreams {
		upstream(fmt.Sprintf("upstreams[%d]", i), &cfg.Upstreams[i].Address)
	}
	for i := range cfg.Forward {
		for k := range cfg.Forward[i].Upstreams {
			upstream(fmt.Sprintf("forward[%d].upstreams[%d]", i, k), &cfg.Forward[i].Upstreams[k])
		}
	}
	if cfg.TLS.ACME.Directory != "" {
		absent("tls.acme.directory", cfg.TLS.ACME.Directory, "ACME")
	}
	for i, word := range cfg.Alerts.Tell {
		absent(fmt.Sprintf("alerts.tell[%d]", i), word, "alerts")
	}
	if cfg.Destinations.Nightly {
		absent("destinations.nightly", "true", "'telltale destinations'")
	}
	for i, addr := range cfg.Web.Listen {
		absent(fmt.Sprintf("web.listen[%d]", i), addr.String(), "the console and the API for the network")
	}
	for i, addr := range cfg.Metrics.Listen {
		absent(fmt.Sprintf("metrics.listen[%d]", i), addr.String(), "metrics for Prometheus")
	}
	return all
}
