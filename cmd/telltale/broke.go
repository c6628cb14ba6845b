package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"telltale/web"
)

// brokeFlags say what to do beside showing what was blocked.
type brokeFlags struct {
	last, keep, answer, comment string
	bisect, stop                bool
}

func (cl *cli) newBroke() *cobra.Command {
	var f brokeFlags
	c := cl.addJSON(&cobra.Command{
		Use:   "broke DEVICE",
		Short: "Find the blocked name that a device needs",
		Long: `Show what was blocked of a device in the last quarter of an hour, the likeliest
cause of a breakage first, and why. docs/broke.md says how it is weighed. The
server keeps it in memory for an hour, whatever the settings say of the log.

--bisect finds the one name by trying: half of the names are let through on this
device for ten minutes, you say whether it works now, and so on. It ends with a
rule for this name on this device in your own file (own.txt). On a terminal it
asks you; else --answer says what you saw, and --stop ends it. Until it has found
the name it leaves no rule behind, also where you end it by Ctrl-C.`,
		Example: "  telltale broke living-room-tv\n  telltale broke living-room-tv --bisect --for 30d\n  telltale broke living-room-tv --answer yes",
		Args:    oneArg("device"),
		RunE:    func(c *cobra.Command, args []string) error { return cl.runBroke(c.Context(), args[0], &f) },
	})
	flags := c.Flags()
	flags.StringVar(&f.last, "last", "", "what was blocked in so long a time, up to 1h (default 15m)")
	flags.BoolVar(&f.bisect, "bisect", false, "find the name by trying")
	flags.StringVar(&f.answer, "answer", "", "of --bisect: whether it works now, yes or no")
	flags.BoolVar(&f.stop, "stop", false, "end --bisect without a rule")
	flags.StringVar(&f.keep, "for", "", "of --bisect: how long the rule holds in the end: 12h, 30d; without it, for good")
	flags.StringVar(&f.comment, "comment", "", "of --bisect: a comment behind the rule")
	complete(c, "answer", "yes", "no")
	return cl.completeDevices(c)
}

// runBroke does what the flags say.
func (cl *cli) runBroke(ctx context.Context, device string, f *brokeFlags) error {
	n := web.NewSearch{Device: device, Comment: f.comment}
	var err error
	if n.Last, err = secondsOf("last", f.last); err != nil {
		return err
	}
	if n.Seconds, err = secondsOf("for", f.keep); err != nil {
		return err
	}
	if n.Last > 3600 {
		return usage("--last: what was blocked is kept for an hour; 'telltale log --verdict block' has what was before")
	}
	if f.bisect && f.stop || f.answer != "" && (f.bisect || f.stop) {
		return usage("--bisect, --answer and --stop are one at a time")
	}
	if (f.keep != "" || f.comment != "") && !f.bisect {
		return usage("--for and --comment are for the rule with which --bisect ends: say them with --bisect")
	}
	cfg, err := cl.load()
	if err != nil {
		return err
	}
	b := broker{cl: cl, client: newClient(cfg), device: device}
	switch {
	case f.stop:
		err = b.stop(ctx)
	case f.answer != "":
		err = b.answer(ctx, f.answer)
	case f.bisect:
		err = b.begin(ctx, n)
	default:
		err = b.show(ctx, n)
	}
	if errors.Is(err, errStopped) {
		return fmt.Errorf("%w: what was blocked lately is in its memory alone; 'telltale log --verdict block' reads what is in the log", err)
	}
	return err
}

// secondsOf reads a duration that a flag says; 0 for none.
func secondsOf(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	d, err := parseAge(text)
	if err != nil || d <= 0 {
		return 0, usage("--%s: %q is no duration; 15m, 2h or 30d are", flag, text)
	}
	return seconds(d), nil
}

// A broker asks the server, and the person, about one device.
type broker struct {
	cl     *cli
	client *client
	device string // as the person typed it
}

// show prints what was blocked, and offers a search to who can be asked.
func (b *broker) show(ctx context.Context, n web.NewSearch) error {
	path := "/broke?device=" + url.QueryEscape(b.device)
	if n.Last > 0 {
		path += "&last=" + strconv.FormatInt(n.Last, 10)
	}
	var got web.Breakage
	if err := b.client.get(ctx, path, &got); err != nil {
		return err
	}
	if b.cl.json {
		return b.cl.encoder().Encode(got)
	}
	b.printSuspects(&got)
	runs := got.Search != nil && (got.Search.State == web.SearchAsks || got.Search.State == web.SearchOverdue)
	switch {
	case runs:
		return b.goOn(ctx, got.Search)
	case got.Search != nil:
		fmt.Fprintf(b.cl.out, "\nThe last search, begun %s:\n", when(got.Search.Begun))
		return b.printSearch(got.Search)
	case len(got.Suspects) == 0 || !isTerminalInput(b.cl.in):
		return nil
	}
	q := questioner{in: b.cl.in, out: b.cl.out}
	if sure, err := q.ask("\nFind out which one it is, by trying?", false); err != nil || !sure {
		return nil // all has been shown
	}
	return b.begin(ctx, n)
}

// printSuspects prints the names, the likeliest first.
func (b *broker) printSuspects(got *web.Breakage) {
	out, name := b.cl.out, printable(got.Name)
	if len(got.Suspects) == 0 {
		fmt.Fprintf(out, "Nothing of %s was blocked since %s.\nHave it try what does not work, and ask again. If there is still nothing, it is not a blocked name: see docs/something-broke.md.\n", name, when(got.Since))
		return
	}
	fmt.Fprintf(out, "%s of %s blocked since %s, the likeliest cause of a breakage first:\n\n", numberOf(uint64(len(got.Suspects)), "name", "names"), name, when(got.Since))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tLAST\tLOOKUPS\tBLOCKED BY\tWHY IT MAY BE IT")
	for i := range got.Suspects {
		s := &got.Suspects[i]
		var why []string
		for _, r := range s.Reasons {
			why = append(why, printable(r.Text))
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", printable(s.Name), s.Last.Local().Format(time.TimeOnly), s.Lookups, blockedBy(s), strings.Join(why, "; "))
	}
	w.Flush()
	if got.Missed > 0 {
		fmt.Fprintf(out, "%s had no room in memory: more names may have been blocked ('telltale log --verdict block' has them).\n", number(uint64(got.Missed), "blocked lookup"))
	}
}

func blockedBy(s *web.Suspect) string {
	text := s.List
	if s.Line > 0 {
		text = fmt.Sprintf("%s:%d", s.List, s.Line)
	}
	if s.Alias != "" {
		text += " for its alias " + s.Alias
	}
	return printable(text)
}

// begin begins a search, and goes on with it.
func (b *broker) begin(ctx context.Context, n web.NewSearch) error {
	var s web.Search
	if err := b.client.do(ctx, http.MethodPost, "/broke/search", n, &s); err != nil {
		return err
	}
	return b.goOn(ctx, &s)
}

// answer answers the question that is asked, and goes on.
func (b *broker) answer(ctx context.Context, answer string) error {
	n := web.SearchAnswer{Device: b.device}
	switch strings.ToLower(answer) {
	case "yes", "y":
		n.Works = true
	case "no", "n":
	default:
		return usage("--answer: %q is neither yes nor no", answer)
	}
	var s web.Search
	if err := b.client.do(ctx, http.MethodPost, "/broke/search/answer", n, &s); err != nil {
		return err
	}
	if b.cl.json {
		return b.cl.encoder().Encode(s)
	}
	return b.printSearch(&s)
}

func (b *broker) stop(ctx context.Context) error {
	if err := b.client.do(ctx, http.MethodDelete, "/broke/search?device="+url.QueryEscape(b.device), nil, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintln(b.cl.out, "The search is ended, and leaves no rule.")
	return err
}

// goOn shows the question that is asked, and asks the person where there is one.
func (b *broker) goOn(ctx context.Context, s *web.Search) error {
	if b.cl.json {
		return b.cl.encoder().Encode(s)
	}
	if !isTerminalInput(b.cl.in) {
		return b.printSearch(s)
	}
	q := questioner{in: b.cl.in, out: b.cl.out}
	for s.State == web.SearchAsks || s.State == web.SearchOverdue {
		b.printQuestion(s)
		works, err := q.insist(ctx, "Does it work now?")
		next := web.Search{}
		if err == nil {
			err = b.client.do(ctx, http.MethodPost, "/broke/search/answer", web.SearchAnswer{Device: s.Device, Works: works, Question: s.Question}, &next)
		}
		if err != nil {
			return b.abandon(ctx, s, err)
		}
		s = &next
	}
	return b.printEnd(s)
}

// abandon ends a search that the person does not go on with.
func (b *broker) abandon(ctx context.Context, s *web.Search, why error) error {
	fmt.Fprintln(b.cl.out)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := b.client.do(end, http.MethodDelete, "/broke/search?device="+url.QueryEscape(s.Device), nil, nil)
	if err != nil {
		return fmt.Errorf("%w; the search is not ended: %w (its rules end %s)", why, err, when(s.Until))
	}
	if ctx.Err() != nil {
		return errors.New("the search is ended, and leaves no rule")
	}
	return fmt.Errorf("the search is ended, and leaves no rule: %w", why)
}

// printSearch prints a search for who is not asked.
func (b *broker) printSearch(s *web.Search) error {
	if s.State != web.SearchAsks && s.State != web.SearchOverdue {
		return b.printEnd(s)
	}
	b.printQuestion(s)
	device := b.device
	if strings.ContainsFunc(device, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`"'\$&;|<>()*?#`, r) }) {
		device = strconv.Quote(device)
	}
	_, err := fmt.Fprintf(b.cl.out, "Then: telltale broke %s --answer yes, or --answer no where it does not work. --stop ends the search without a rule.\n", printable(device))
	return err
}

func (b *broker) printQuestion(s *web.Search) {
	out, name := b.cl.out, printable(s.Name)
	switch {
	case s.Why != "":
		fmt.Fprintf(out, "This answer does not count: %s. The same names are tried again:\n", printable(s.Why))
	case s.Again:
		fmt.Fprintln(out, "The time to try was over, and the names were blocked again: this answer does not count.")
	}
	if s.State == web.SearchOverdue {
		fmt.Fprintf(out, "The time to try was over %s. Any answer begins it again, with the same names:\n", when(s.Until))
	} else {
		fmt.Fprintf(out, "\nQuestion %d of at most %d. Until %s %s let through on %s:\n", s.Question, s.Most, s.Until.Local().Format(time.TimeOnly), numberOf(uint64(len(s.Trial)), "name is", "names are"), name)
	}
	for _, n := range s.Trial {
		fmt.Fprintf(out, "  %s\n", printable(n))
	}
	if s.State == web.SearchAsks {
		fmt.Fprintln(out, "Wait a quarter of a minute, end the app and start it again, and try what did not work.")
	}
}

// printEnd prints how a search ended.
func (b *broker) printEnd(s *web.Search) error {
	out := b.cl.out
	if s.State == web.SearchNone {
		_, err := fmt.Fprintf(out, `
None of the names is the cause by itself, after %s. No rule is left.
Either something else is: see whether it works while nothing is blocked ('telltale pause 10m').
Or several of the names are needed together: 'telltale allow NAME --device DEVICE --for 1h' tries them.
`, number(uint64(s.Question), "question"))
		return err
	}
	fmt.Fprintf(out, "\nIt is %s, blocked by %s (%s).\n", printable(s.Found.Name), blockedBy(s.Found), number(uint64(s.Question), "question"))
	until := "for good"
	if s.RuleUntil != nil {
		until = "until " + when(*s.RuleUntil)
	}
	fmt.Fprintf(out, "%s: allow %s on %s, %s\n", s.File, printable(s.Found.Name), printable(s.Name), until)
	switch {
	case s.Report != "":
		fmt.Fprintf(out, "\nThe catalogue does not know that this breaks something. Tell its people, if you like; no device and no address is in this:\n\n%s", printableLines(s.Report))
	case s.Breaks != "":
		fmt.Fprintf(out, "The catalogue knows it: blocking it breaks %s.\n", printable(s.Breaks))
	}
	return nil
}

// printableLines is printable for a text of several lines.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}
