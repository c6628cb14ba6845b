package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/dnswire"
	"telltale/evidence"
	"telltale/resolver"
	"telltale/resolver/upstream"
	"telltale/web"
)

func (cl *cli) newQuery() *cobra.Command {
	device, asked, trace := "", "", false
	c := cl.addJSON(&cobra.Command{
		Use:   "query NAME [TYPE]",
		Short: "Ask the running server a question, and show each step to the answer",
		Long: `Ask the running server for a name as a client does, and print the answer: by the
lists, the cache and the upstreams. It is no look-up of a device: nothing is logged.

With --trace, each step with its time since the beginning: what the lists decide,
whether the cache has it, which upstream was asked by what, what came back, and what
the client gets. With --upstream, that upstream alone is asked, whatever its state, and
not the cache; what it says is not kept. The lists decide first even so. With
--device, as that device is answered.

'telltale explain NAME' says which rules decide.`,
		Example: `  telltale query www.example.com
  telltale query www.example.com AAAA --trace
  telltale query nas.lan --upstream 192.168.1.1:53 --trace
  telltale query ads.example --device living-room-tv`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return usage("a name is expected, and perhaps a record type")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseHost(args[0])
			if err != nil {
				return usage("%v", err)
			}
			qtype := uint16(dnswire.TypeA)
			if len(args) == 2 {
				if qtype, err = parseType(args[1]); err != nil {
					return usage("%v", err)
				}
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var r web.Resolution
			query := url.Values{"name": {name.String()}, "type": {dnswire.TypeString(qtype)}, "device": {device}, "upstream": {asked}}
			if err := newClient(cfg).get(c.Context(), "/query?"+query.Encode(), &r); err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(r)
			}
			return cl.printResolution(&r, trace)
		},
	})
	c.Flags().StringVar(&device, "device", "", "as this device: its name, identity or MAC, or an address")
	c.Flags().StringVar(&asked, "upstream", "", "ask this upstream alone, by its id or address")
	c.Flags().BoolVar(&trace, "trace", false, "show each step with its time")
	return c
}

func (cl *cli) printResolution(r *web.Resolution, trace bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s", r.Name, r.Type, r.Verdict)
	if r.Mode != "" {
		fmt.Fprintf(&b, " (answered %s)", r.Mode)
	}
	fmt.Fprintf(&b, "\n  %s\n", printable(r.Why))
	printReply(&b, r.Reply)
	fmt.Fprintf(&b, "  Took %s.\n", milliseconds(r.Took))
	if trace {
		b.WriteString("\nSteps:\n")
		for _, s := range r.Steps {
			fmt.Fprintf(&b, "%12s  %s\n", milliseconds(s.At), printable(strings.TrimSpace(s.Upstream+" "+s.Text)))
		}
	}
	_, err := cl.out.Write([]byte(b.String()))
	return err
}

// milliseconds writes a time so that times one below the other can be compared.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

// What Step.Step says of events. The words never change.
var eventWords = map[upstream.EventKind]string{upstream.Sent: "sent", upstream.Replied: "reply", upstream.Overdue: "overdue", upstream.GivenUp: "given-up"}

// resolutionOf puts together what lists say of a name and what happened to its
// question.
func resolutionOf(e *web.Explanation, story *resolver.Story) web.Resolution {
	r := web.Resolution{Name: e.Name, Type: e.Type, Verdict: e.Verdict, Mode: e.Mode, Why: e.Why, Reply: e.Reply, Took: story.Took}
	add := func(at time.Duration, step, upstream, text string) {
		r.Steps = append(r.Steps, web.Step{At: at, Step: step, Upstream: upstream, Text: text})
	}
	add(0, "lists", "", "the lists say "+story.Lists.Action.String())
	switch {
	case story.Cached:
		add(story.Looked, "cache", "", "the cache has it, for "+evidence.Length(story.Age))
	case story.Asked:
		add(story.Looked, "cache", "", "not answered by the cache")
	}
	for _, ev := range story.Events {
		add(ev.Time.Sub(story.Began), eventWords[ev.Kind], ev.Upstream, upstreamEventText(&ev))
	}
	text := e.Reply.Rcode + " to the client, answered from " + e.Reply.From
	if story.Verdict.Action != story.Lists.Action {
		text += fmt.Sprintf(" (%s, by what the answer leads to)", story.Verdict.Action)
	}
	add(story.Took, "answer", "", text)
	return r
}

// upstreamEventText says what an upstream did, or was asked.
func upstreamEventText(e *upstream.Event) string {
	switch e.Kind {
	case upstream.Sent:
		if e.Hedge {
			return "is asked, too, by " + e.How
		}
		return "is asked by " + e.How
	case upstream.Replied:
		text := fmt.Sprintf("says %s, %s, %d octets", dnswire.RcodeString(e.Rcode), number(uint64(e.Records), "record"), e.Size)
		switch {
		case e.Cut:
			text += ": truncated"
		case !e.Fits:
			text += ": no answer"
		}
		return text
	case upstream.Overdue:
		return "has not replied in the time that it usually needs"
	}
	return e.Why
}
