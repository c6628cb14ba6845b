package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/evidence/letter"
)

// letterFlags say what a letter is about.
type letterFlags struct {
	period
	vendor, device, lang, out string
	force                     bool
}

func (cl *cli) newLetter() *cobra.Command {
	var f letterFlags
	c := &cobra.Command{
		Use:   "letter VENDOR --device DEVICE",
		Short: "Write a request for information to a vendor, with what a device looked up as an annex",
		Long: `Write the text of a letter to a vendor: questions about the names of the vendor that a
device looked up in a period (the last 30 days unless --since says otherwise), and an
annex with each name, how often and when, and who lists it as what.

What only you know is a place in [BRACKETS], which you fill in. The letter makes no
legal claim and says of no lookup more than that it was made. The device's name,
addresses and MAC are not in it. Read it before you send it.

'telltale report DEVICE --vendor VENDOR --json' has the same facts for programs, and
'telltale evidence export' a bundle that the vendor can check (docs/bundles.md).`,
		Example: `  telltale letter Xiaomi --device phone
  telltale letter Samsung --device living-room-tv --last 7d --lang de -o letter.txt`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || strings.TrimSpace(args[0]) == "" {
				return usage("one vendor is expected; 'telltale top vendors' shows which there are")
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			vendors, _ := cl.vendorWords() // without settings nothing is offered
			return vendors, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			f.vendor = args[0]
			return cl.letter(c.Context(), &f)
		},
	}
	f.period.add(c, "30d")
	flags := c.Flags()
	flags.StringVar(&f.device, "device", "", "the device: its name, identity, MAC or address")
	flags.StringVar(&f.lang, "lang", "en", "the language: "+strings.Join(letter.Languages, " or "))
	flags.StringVarP(&f.out, "output", "o", "", "write it to this file, which must not exist")
	flags.BoolVar(&f.force, "force", false, "replace the file if it exists")
	complete(c, "lang", letter.Languages...)
	completeBy(c, "device", cl.deviceWords)
	return c
}

func (cl *cli) letter(ctx context.Context, f *letterFlags) error {
	if f.device == "" {
		return usage("--device is missing: 'telltale devices' shows which there are")
	}
	if !slices.Contains(letter.Languages, f.lang) {
		return usage("--lang: %q is none of %s", printable(f.lang), strings.Join(letter.Languages, ", "))
	}
	since, until, err := f.readPast(time.Now())
	if err != nil {
		return err
	}
	if f.out != "" {
		if err := checkNew(f.out, f.force); err != nil {
			return err
		}
	}
	l, err := cl.openLog(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	made, err := l.makeReport(ctx, &reportOf{since: since, until: until, zone: f.zone, device: f.device, vendor: f.vendor})
	if err != nil {
		return err
	}
	var text bytes.Buffer
	places, err := letter.Write(&text, made, f.lang)
	if errors.Is(err, letter.ErrNothing) {
		if err := l.checkVendor(ctx, f.vendor); err != nil {
			return err
		}
		return fmt.Errorf("the log has no lookup of a listed name of %s by %s in this time (recorded: %s): there is nothing to ask about. --since goes further back", printable(f.vendor), printable(f.device), printable(made.Coverage.Text))
	}
	if err != nil {
		return err
	}
	if f.out == "" {
		_, err = text.WriteTo(cl.out)
	} else {
		err = writeNew(f.out, f.force, func(w io.Writer) error { _, err := text.WriteTo(w); return err })
	}
	if err == nil {
		_, err = fmt.Fprintf(cl.err, "%d places in [BRACKETS] are for you to fill in. Read it before you send it.\n", places)
	}
	return err
}
