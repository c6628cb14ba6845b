package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/config"
	"telltale/sorting"
	"telltale/web"
)

func (cl *cli) newLists() *cobra.Command {
	bad := false
	c := cl.addJSON(&cobra.Command{
		Use:   "lists",
		Short: "Show the lists: rules, bad lines, age, what is held back",
		Long: `Show every list with its rules, its bad lines, its age, and what its last reload
changed. A file that suddenly turned empty, binary, JSON or HTML is held back: its
last good rules stay in force until it is repaired or accepted by hand. Files of
lists.d that are not read are named.`,
		Example: "  telltale lists\n  telltale lists --bad\n  telltale lists accept mylist",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			all, err := listStatus(c.Context(), cfg)
			if err != nil {
				return err
			}
			if cl.json {
				enc := cl.encoder()
				for i := range all {
					if err := enc.Encode(&all[i]); err != nil {
						return err
					}
				}
				return nil
			}
			return cl.printLists(all, bad)
		},
	})
	c.Flags().BoolVar(&bad, "bad", false, "show the bad lines, too")
	c.AddCommand(cl.newListsAdd(), cl.newListsRemove(), cl.newListsAccept(), cl.newListsCheck(), cl.newListsLookup(), cl.newListsDiff(), cl.newListsRefresh(), cl.newListsExport(), cl.newListsPresets())
	return c
}

// listStatus asks the running server, or else reads the lists as it would.
func listStatus(ctx context.Context, cfg *config.Config) (all []web.List, err error) {
	err = newClient(cfg).get(ctx, "/lists", &all)
	if !errors.Is(err, errStopped) {
		return all, err
	}
	lists, err := blocklists.OpenReadOnly(stoppedListOptions(cfg))
	if err != nil {
		return nil, err
	}
	defer lists.Close()
	return listsOf(withUpdates(lists.Status(), copiesStatus(cfg))), nil
}

func (cl *cli) newListsAccept() *cobra.Command {
	return &cobra.Command{
		Use:     "accept NAME",
		Short:   "Put a list in force that is held back",
		Example: "  telltale lists accept mylist",
		Args:    oneArg("name of a list"),

		ValidArgsFunction: completion(cl.listWords()),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			if err := knownList(c.Context(), cfg, args[0]); err != nil {
				return err
			}
			if err := newClient(cfg).do(c.Context(), http.MethodPost, "/lists/accept", web.ListName{Name: args[0]}, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cl.out, "%s is in force as it is.\n", args[0])
			return err
		},
	}
}

// knownList fails for a name that no list has.
func knownList(ctx context.Context, cfg *config.Config, name string) error {
	all, err := listStatus(ctx, cfg)
	if err != nil {
		return err
	}
	var known []string
	for i := range all {
		known = append(known, all[i].Name)
	}
	if !slices.Contains(known, name) {
		return unknown("list", name, known, "telltale lists")
	}
	return nil
}

// kindsShown is the order in which lists are printed: a person's own come first.
var kindsShown = []string{blocklists.OwnList.String(), blocklists.Local.String(), blocklists.UserList.String(), blocklists.Subscribed.String(), blocklists.Shipped.String()}

func (cl *cli) printLists(all []web.List, bad bool) error {
	w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
	sorting.StableBy(all, func(a, b web.List) int {
		return cmp.Compare(slices.Index(kindsShown, a.Kind), slices.Index(kindsShown, b.Kind))
	})
	fmt.Fprintln(w, "LIST\tKIND\tRULES\tBAD LINES\tIN FORCE SINCE\tLAST CHANGE\tSTATE")
	for i := range all {
		l := &all[i]
		change := "-"
		if l.Added+l.Removed > 0 {
			change = fmt.Sprintf("+%d -%d", l.Added, l.Removed)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", printable(l.Name), l.Kind, l.Rules, l.BadLines, when(l.Reloaded), change, printable(l.State))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	anyBad := false
	for i := range all {
		l := &all[i]
		anyBad = anyBad || l.BadLines > 0
		for _, warning := range l.Warnings {
			fmt.Fprintf(cl.out, "warning: %s: %s\n", printable(l.Name), printable(warning))
		}
		if !bad {
			continue
		}
		for _, b := range l.Bad {
			fmt.Fprintf(cl.out, "%s: %s\n", lineOf(printable(fileOf(l)), b.Line), printable(b.Why))
		}
		if more := l.BadLines - len(l.Bad); more > 0 {
			fmt.Fprintf(cl.out, "%s: and %d more\n", printable(fileOf(l)), more)
		}
	}
	if bad && !anyBad {
		fmt.Fprintln(cl.err, "no list has a bad line")
	}
	return nil
}

func fileOf(l *web.List) string {
	if l.Path != "" {
		return l.Path
	}
	return l.Name
}

func listState(l *blocklists.ListStatus) string {
	var s []string
	switch {
	case l.Held != "":
		s = append(s, "held back: "+printable(l.Held))
	case l.Unread:
		return "not read: the name ends in none of " + blocklists.ListEndings
	case l.Failed != "":
		s = append(s, "cannot be read: "+printable(l.Failed))
	case !l.Enabled:
		s = append(s, "off")
	case l.Missing != "":
		s = append(s, printable(l.Missing))
	case l.Outside:
		s = append(s, "not in force now")
	case l.Observe:
		s = append(s, "observing")
	default:
		s = append(s, "in force")
	}
	if l.Schedule != "" {
		s[0] += " " + schedulePhrase(l)
	}
	if l.Mode != "" {
		s = append(s, "answers "+l.Mode)
	}
	if l.Steps > 0 {
		s = append(s, strconv.Itoa(l.Steps)+" steps of patterns")
	}
	if l.Unkept != "" {
		s = append(s, "not kept in the cache directory: "+printable(l.Unkept))
	}
	if n := len(l.Warnings); n > 0 {
		s = append(s, strconv.Itoa(n)+" warnings")
	}
	return strings.Join(s, ", ")
}

// schedulePhrase says when the list's schedule turns, and what it is.
func schedulePhrase(l *blocklists.ListStatus) string {
	if l.Turns.IsZero() {
		return "(schedule " + printable(l.Schedule) + ")"
	}
	return fmt.Sprintf("until %s (schedule %s)", l.Turns.Local().Format("Mon 2006-01-02 15:04 MST"), printable(l.Schedule))
}

// listsOf returns lists as the API and --json have them.
func listsOf(all []blocklists.ListStatus) []web.List {
	out := []web.List{}
	for i := range all {
		out = append(out, listOf(&all[i]))
	}
	return out
}

func listOf(l *blocklists.ListStatus) web.List {
	out := web.List{
		Name: l.Name, Path: l.Path, Kind: l.Kind.String(), State: listState(l), Enabled: l.Enabled, Observe: l.Observe, Mode: l.Mode,
		Schedule: l.Schedule, Outside: l.Outside, Turns: l.Turns.UTC(), Rules: l.Rules,
		Forms: l.ByForm, BadLines: l.BadSeen, Bad: []web.BadLine{}, Modified: l.Modified.UTC(), Reloaded: l.Reloaded.UTC(),
		Added: l.Added, Removed: l.Removed, Held: l.Held, Missing: l.Missing, Unkept: l.Unkept, Unread: l.Unread, Failed: l.Failed, Warnings: l.Warnings,
	}
	for _, b := range l.Bad {
		out.Bad = append(out.Bad, web.BadLine(b))
	}
	return out
}
