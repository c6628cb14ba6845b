package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/evidence/bundle"
	"telltale/evidence/witness"
)

// errKeyUnknown ends 'evidence verify' with an exit status of its own: all fits
// together, and nothing says whose it is.
var errKeyUnknown = errors.New("")

// exitKeyUnknown is that status; it never changes.
const exitKeyUnknown = 3

// maxCheckpoint is how long the file of a checkpoint or a key may be.
const maxCheckpoint = 1 << 16

func (cl *cli) newEvidenceVerify() *cobra.Command {
	key, checkpoint, authority := "", "", ""
	c := cl.addJSON(&cobra.Command{
		Use:   "verify FILE",
		Short: "Check a bundle, without a network and without this machine's log",
		Long: `Check a bundle that 'telltale evidence export' has written, here or elsewhere: that
nothing in it was changed, added, taken out or moved since it was sealed. It needs no
settings, no log and no network.

Nobody can tell from the file alone whose log it is. Give the log's key as its owner
gave it to you by another way than the file (--key), or a checkpoint of the log that
you have kept from earlier (--checkpoint), or both. With a checkpoint the rows before
it are known to be as old as that.

Exit status: 0 verified; 1 not verified, something does not fit; 2 a mistake of the
command line, or a file that cannot be read; 3 consistent, but without --key and --checkpoint nothing says whose it
is. docs/bundles.md says what is proven then, and what is not.`,
		Example: "  telltale evidence verify finding.zip --key 'telltale/0123456789abcdef+4f1c2b3a+AXx...'\n" +
			"  telltale evidence verify finding.zip --checkpoint checkpoint-of-may.txt",
		Args: oneArg("file"),
		RunE: func(_ *cobra.Command, args []string) error {
			trust, err := readTrust(key, checkpoint)
			if err != nil {
				return err
			}
			authorities, err := readAuthorities(authority)
			if err != nil {
				return err
			}
			return cl.verifyBundle(args[0], trust, authorities)
		},
	})
	f := c.Flags()
	f.StringVar(&key, "key", "", "the log's key: NAME+HASH+BASE64, or a file that has it")
	f.StringVar(&checkpoint, "checkpoint", "", "a file with a checkpoint of the log")
	if !small {
		f.StringVar(&authority, "authority", "", "a file with certificates (PEM) of the time-stamp authorities that you trust")
	}
	return c
}

// readAuthorities reads certificates. Those of no file are nil.
func readAuthorities(path string) (*x509.CertPool, error) {
	if small || path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("--authority: %v", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return nil, usage("--authority: %s has no certificate in PEM", printable(path))
	}
	return authorities, nil
}

// readTrust reads what the flags give.
func readTrust(key, checkpoint string) (*bundle.Trust, error) {
	t := &bundle.Trust{}
	if key != "" {
		text := []byte(key)
		if err := bundle.CheckKey(key); err != nil {
			if text, err = readShort(key); errors.Is(err, fs.ErrNotExist) {
				return nil, usage("--key: %v", bundle.CheckKey(key))
			} else if err != nil {
				return nil, usage("--key: %v", err)
			}
		}
		t.Key = strings.TrimSpace(string(text))
		if err := bundle.CheckKey(t.Key); err != nil {
			return nil, usage("--key: %s: %v", printable(key), err)
		}
	}
	if checkpoint != "" {
		text, err := readShort(checkpoint)
		if err != nil {
			return nil, usage("--checkpoint: %v", err)
		}
		t.Checkpoint = text
	}
	return t, nil
}

// readShort reads a file that has one thing.
func readShort(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCheckpoint+1))
	if err == nil && len(b) > maxCheckpoint {
		err = fmt.Errorf("%s is too long", path)
	}
	return b, err
}

func (cl *cli) verifyBundle(path string, trust *bundle.Trust, authorities *x509.CertPool) error {
	r, err := openBundle(path, trust)
	if errors.Is(err, errUsage) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s is NOT verified: %s", printable(path), printable(err.Error()))
	}
	if cl.json {
		err = cl.encoder().Encode(verifiedOf(r, authorities))
	} else {
		err = printVerified(cl.out, path, r, trust, stampsOf(r, authorities), authorities != nil)
	}
	if err == nil && !r.Known {
		return errKeyUnknown
	}
	return err
}

func openBundle(path string, trust *bundle.Trust) (*bundle.Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usage("%s", printable(err.Error()))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, usage("%s is not a file", printable(path))
	}
	return bundle.Verify(f, info.Size(), trust)
}

// A verified is what --json prints. Its keys never change their meaning.
type verified struct {
	Verified   bool                  `json:"verified"` // false: consistent, and nothing says whose it is
	Origin     string                `json:"origin"`
	Key        string                `json:"key"`
	Leaves     int64                 `json:"leaves"`
	Shown      map[bundle.What]int64 `json:"has"`   // leaves, by what the bundle has of them
	First      string                `json:"first"` // of the rows' times; "" where there are none
	Last       string                `json:"last"`
	Checkpoint int64                 `json:"checkpoint"`  // leaves of the one that was given; 0 for none
	RowsBefore int64                 `json:"rows_before"` // rows that were sealed when it was made
	Handovers  int                   `json:"handovers"`   // of keys
	Witnesses  int                   `json:"witnesses"`   // statements of others, which are not checked
	Stamps     []stamp               `json:"timestamps"`  // of heads of the log
	Off        []bundle.Off          `json:"off"`         // times in which sealing was off, Unix milliseconds; until 0: since then
	About      bundle.About          `json:"about"`       // as who made it says
}

// A stamp is what a bundle's time-stamp says.
type stamp struct {
	Leaves     int64  `json:"leaves"`      // of the head that it is of
	RowsBefore int64  `json:"rows_before"` // rows that were sealed then
	Time       string `json:"time"`        // "" where it is wrong
	Signer     string `json:"signer"`      // as its certificate says
	Trusted    bool   `json:"trusted"`     // that leads to a certificate of --authority
	Problem    string `json:"problem,omitempty"`
}

// stampsOf checks the time-stamps of a bundle.
func stampsOf(r *bundle.Result, authorities *x509.CertPool) []stamp {
	all := []stamp{}
	if small {
		return all
	}
	for i := range r.Stamps {
		s := &r.Stamps[i]
		at, signer, err := witness.OpenStamp([]byte(s.Note), s.Timestamp, authorities)
		one := stamp{Leaves: s.Leaves, RowsBefore: s.RowsBefore, Signer: signer, Trusted: err == nil && authorities != nil}
		if err == nil {
			one.Time = sealedTime(at.UnixMilli())
		} else {
			one.Problem = err.Error()
		}
		all = append(all, one)
	}
	return all
}

func verifiedOf(r *bundle.Result, authorities *x509.CertPool) *verified {
	v := &verified{
		Verified: r.Known, Origin: r.Checkpoint.Origin, Key: r.Key, Leaves: r.Checkpoint.Size, Shown: r.Counts,
		Handovers: len(r.Handovers), Witnesses: r.Witnesses, About: r.About, RowsBefore: r.RowsBefore, Off: append([]bundle.Off{}, r.Off...), Stamps: stampsOf(r, authorities),
	}
	if r.Counts[bundle.Row] > 0 {
		v.First, v.Last = sealedTime(r.First), sealedTime(r.Last)
	}
	if r.Given != nil {
		v.Checkpoint = r.Given.Size
	}
	return v
}

func sealedTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05") }

// printVerified says in plain words what is proven, and what is not. authority: those whose
// time-stamps are trusted were given.
func printVerified(w io.Writer, path string, r *bundle.Result, trust *bundle.Trust, stamps []stamp, authority bool) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	n := func(what bundle.What, word string) string { return number(uint64(r.Counts[what]), word) }
	if r.Known {
		line("%s is VERIFIED.", printable(path))
	} else {
		line("%s is CONSISTENT, KEY UNKNOWN: anybody could have made it.", printable(path))
	}
	of := "all devices"
	if len(r.About.Devices) > 0 {
		of = printable(r.About.Device)
	}
	line("\nIt is of %s, from %s until %s (times are UTC),", of, sealedTime(r.About.Since), sealedTime(r.About.Until))
	line("made %s by %s.", sealedTime(r.About.Made), printable(r.About.Program))
	line("  shown      %s, %s of the ledger, %s", n(bundle.Row, "row"), n(bundle.Ledger, "line"), n(bundle.Statement, "statement"))
	if r.Counts[bundle.Row] > 0 {
		line("  dated      %s to %s", sealedTime(r.First), sealedTime(r.Last))
	}
	if r.Last > r.About.Made {
		line("             later than the file, which says that it was made before: one of the\n             clocks was wrong")
	}
	line("  not shown  %d withheld, %d of other times, %d deleted", r.Counts[bundle.Withheld], r.Counts[bundle.Outside], r.Counts[bundle.Deleted])

	line("\nProven:")
	line("- What is shown is part of one sealed log, in this place and order. Since it was\n  sealed none of it was changed, moved, or put in between.")
	whose := "which the file brings with it: nothing says whose it is"
	switch {
	case trust.Key == r.Key:
		whose = "which you gave"
	case trust.Key != "":
		whose = "which took over from the one that you gave"
	case r.Known:
		whose = "which is, or took over from, the one that signed your checkpoint"
	}
	line("- That log has %d leaves. It is signed by the key\n  %s,\n  %s.", r.Checkpoint.Size, r.Key, whose)
	if r.Given != nil {
		line("- It goes on from your checkpoint of %d leaves: %d of %s were sealed\n  before that was signed, so they are as old as your copy of it.", r.Given.Size, r.RowsBefore, n(bundle.Row, "row"))
	}
	for i := range stamps {
		if s := &stamps[i]; s.Trusted {
			line("- %d of %s were sealed before %s, when %s\n  signed that it had seen the head of the first %d leaves.", s.RowsBefore, n(bundle.Row, "row"), s.Time, printable(s.Signer), s.Leaves)
		}
	}
	for _, d := range r.Deletions {
		line("- %d of those not shown: the log itself states that it deleted or replaced them\n  (%s, from leaf %d to %d, of kind %s), because of: %s.", d.Leaves,
			number(uint64(d.Statements), "statement"), d.First, d.Last, cmp.Or(printable(d.Of), "unknown"), cmp.Or(printable(d.Why), "unknown"))
	}

	line("\nNot proven:")
	line("- That a row was true when it was written: who had the machine and the key could\n  write anything, until somebody else kept a checkpoint.")
	if r.Given == nil && !slices.ContainsFunc(stamps, func(s stamp) bool { return s.Trusted }) {
		since := ""
		if r.Began > 0 {
			since = ", which says that it began on " + sealedTime(r.Began)
		}
		line("- Since when it is sealed: the times are the log's own%s.\n  A checkpoint of an earlier day, which you or somebody you trust has kept, shows\n  it (--checkpoint).", since)
	}
	if authority && len(stamps) == 0 {
		line("- When others had seen the log: no time-stamp is in this file, --authority had\n  nothing to check.")
	}
	for i := range stamps {
		switch s := &stamps[i]; {
		case s.Problem != "":
			line("- The time-stamp of the first %d leaves: %s.", s.Leaves, printable(s.Problem))
		case !s.Trusted:
			line("- That %d of the rows were sealed before %s: %s says so, whose\n  certificate the file brings with it. Give the authority's own by --authority.", s.RowsBefore, s.Time, printable(s.Signer))
		}
	}
	if small && len(r.Stamps) > 0 {
		line("- What time-stamps of the log's heads say: this program does not check them.")
	}
	if r.Witnesses > 0 {
		line("- What others say of the log's heads (%s): these are shown in\n  witnesses.jsonl and not checked.", number(uint64(r.Witnesses), "statement"))
	}
	line("- That a connection was made, what was sent, or which app asked: a row says that a\n  device asked for a name. That a name is telemetry says who is named as its source.")
	if r.Counts[bundle.Withheld]+r.Counts[bundle.Outside] > 0 {
		line("- What withheld leaves say. Of whom and of when they are says who made the file.")
	}
	line("- That nothing is missing which was never sealed: names on no list are not, and the\n  ledger says when nothing was recorded. The report may count such rows, and rows that\n  were not yet signed.")
	for _, off := range r.Off {
		until := "on"
		if off.Until != 0 {
			until = "to " + sealedTime(off.Until)
		}
		line("- From %s %s sealing was off: rows of that time are not in it.", sealedTime(off.From), until)
	}
	line("- Report, lists, addresses and settings: they are as the owner of the key signed\n  them, and are not sealed line by line.")
	if !r.Known {
		line("\nGet the key from its owner by another way than this file, and give it with --key.")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
