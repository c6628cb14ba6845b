package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/querylog"
	"telltale/querylog/seal"
	"telltale/web"
)

func (cl *cli) newEvidenceCheckpoint() *cobra.Command {
	asQR := false
	c := cl.addJSON(&cobra.Command{
		Use:   "checkpoint",
		Short: "Print the signed head of the sealed log, for others to keep",
		Long: `Print the last checkpoint: how many rows and lines are sealed, the hash of all of them,
and the signature. Who keeps it elsewhere can show later that everything before it is
unchanged ("telltale evidence audit --checkpoint FILE"). It says nothing of what is in
the log. The server signs one about every two minutes while there is something new, and
when it stops. It works with the server stopped, too.

--qr draws it as a QR code as well, for somebody to photograph: in half blocks where
LC_ALL, LC_CTYPE or LANG says UTF-8, else in two characters a module. It takes about
70 columns, or 140.`,
		Example: "  telltale evidence checkpoint > checkpoint-2026-11.txt\n  telltale evidence checkpoint --qr",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if asQR && cl.json {
				return usage("--qr and --json are one at a time")
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			head, text, err := querylog.ReadSealHead(cfg.Data.Dir)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: the server signs the first one about a minute after it began, unless log.seal is off", err)
			}
			if err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(checkpointOf(&head, text))
			}
			if asQR {
				drawn, err := drawQR(string(text), showsUTF8(cl.env), isTerminal(cl.out))
				if err != nil {
					return err
				}
				text = append([]byte(drawn+"\n"), text...)
			}
			_, err = cl.out.Write(text)
			return err
		},
	})
	c.Flags().BoolVar(&asQR, "qr", false, "draw it as a QR code, too")
	return c
}

// checkpointOf returns a checkpoint as the API and --json have it.
func checkpointOf(head *seal.Checkpoint, text []byte) web.Checkpoint {
	return web.Checkpoint{Origin: head.Origin, Leaves: head.Size, Root: hex.EncodeToString(head.Root[:]), Note: string(text)}
}

func (cl *cli) newEvidenceAudit() *cobra.Command {
	var keys, checkpoints []string
	c := cl.addJSON(&cobra.Command{
		Use:   "audit",
		Short: "Check that nothing in the log was changed, taken out, put in or moved since it was sealed",
		Long: `Walk the sealed log from its beginning: hash each row of a listed name and each line of
the ledger again, and name the first one that is not as it was. What was deleted by age,
size or 'devices forget' is stated in the sealed log itself; a gap that is not is named.

The log alone cannot tell that it was not written anew as a whole. For that, give a
checkpoint that somebody has kept from earlier (--checkpoint), or the key as it was
then (--key). It works with the server running or stopped.

Exit status: 0 nothing is wrong; 1 something is, or the audit could not be done.`,
		Example: "  telltale evidence audit\n  telltale evidence audit --checkpoint checkpoint-of-may.txt",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o := querylog.SealAudit{Checkpoints: map[string][]byte{}}
			for _, k := range keys {
				trust, err := readTrust(k, "")
				if err != nil {
					return err
				}
				o.Keys = append(o.Keys, trust.Key)
			}
			for _, path := range checkpoints {
				text, err := readShort(path)
				if err != nil {
					return fmt.Errorf("--checkpoint: %w", err)
				}
				o.Checkpoints[path] = text
			}
			l, err := cl.openLog(c.Context())
			if err != nil {
				return err
			}
			defer l.Close()
			bar := cl.newProgress("Checking the sealed log")
			o.Told = func(leaves, all int64) { bar.show(float64(leaves)/float64(max(all, 1)), "") }
			report, err := l.own.AuditSeal(c.Context(), o)
			bar.end()
			if errors.Is(err, querylog.ErrNotSealed) {
				return fmt.Errorf("%w: log.seal is off, or no server of this version has kept it yet", err)
			}
			if err != nil {
				return err
			}
			if cl.json {
				err = cl.encoder().Encode(report)
			} else {
				err = cl.printAudit(report, &o)
			}
			if err == nil && len(report.Problems) > 0 {
				err = errSilent // what is wrong is printed
			}
			return err
		},
	})
	f := c.Flags()
	f.StringArrayVar(&keys, "key", nil, "a key that this log had: NAME+HASH+BASE64, or a file that has it")
	f.StringArrayVar(&checkpoints, "checkpoint", nil, "a file with an earlier checkpoint")
	return c
}

func (cl *cli) printAudit(r *querylog.SealReport, o *querylog.SealAudit) error {
	var b strings.Builder
	for i, p := range r.Problems {
		if i == 0 {
			b.WriteString("NOT as it was sealed:\n")
		}
		fmt.Fprintf(&b, "  %s", p.Kind)
		if p.ID != 0 {
			fmt.Fprintf(&b, " %d (about %s)", p.ID, querylog.SealTime(p.ID).Format(time.DateTime+" MST"))
		}
		if p.Leaf >= 0 {
			fmt.Fprintf(&b, ", leaf %d", p.Leaf)
		}
		fmt.Fprintf(&b, ": %s\n", printable(p.What))
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "  and %d more\n", r.More)
	}
	if len(r.Problems) == 0 && r.Restored.IsZero() {
		b.WriteString("As it was sealed.\n")
	}
	if !r.Restored.IsZero() {
		if len(r.Problems) == 0 {
			b.WriteString("As it was sealed when the backup was made.\n")
		}
		fmt.Fprintf(&b, "Restored from a backup of %s, and not started since: the next start makes another log of it, with another name and key.\n", r.Restored.UTC().Format(time.DateTime+" MST"))
		if r.Before > 0 {
			fmt.Fprintf(&b, "The last checkpoint that was signed before has %s: what came after the backup is not in it.\n", numberOf(uint64(r.Before), "leaf", "leaves"))
		}
	}
	fmt.Fprintf(&b, "%s, %s: %s, %s of the ledger, %s of the log itself; %s deleted, as the log states.\n", printable(r.Origin), numberOf(uint64(r.Leaves), "leaf", "leaves"),
		number(uint64(r.Rows), "row"), number(uint64(r.Lines), "line"), number(uint64(r.Statements), "statement"), numberOf(uint64(r.Removed), "row or line", "rows or lines"))
	if !r.Since.IsZero() {
		fmt.Fprintf(&b, "Sealed since %s, from row %d on.", r.Since.UTC().Format(time.DateTime+" MST"), r.From)
		if r.Unsealed > 0 {
			fmt.Fprintf(&b, " %s of listed names not sealed: sealing was not on.", number(uint64(r.Unsealed), "row"))
		}
		if r.Imported > 0 {
			fmt.Fprintf(&b, " %s imported, no leaf: sealing was off when they were imported, or somebody put them in.", number(uint64(r.Imported), "row"))
		}
		b.WriteByte('\n')
	}
	switch {
	case r.Signed < 0 && slices.ContainsFunc(r.Problems, func(p querylog.SealProblem) bool { return p.Kind == "checkpoint" }):
		b.WriteString("The last checkpoint that was signed here is not of what is in the log, or none was signed.\n")
	case r.Signed >= 0:
		fmt.Fprintf(&b, "The last checkpoint that was signed has %s of them.\n", numberOf(uint64(r.Signed), "leaf", "leaves"))
	case r.Before > 0: // said above
	default:
		b.WriteString("No checkpoint was signed yet.\n")
	}
	for i, k := range r.Keys {
		word := "Key"
		if i > 0 {
			word = "then"
		}
		fmt.Fprintf(&b, "%s %s\n", word, printable(k))
	}
	for _, k := range r.Unvouched {
		fmt.Fprintf(&b, "The key before did not hand over to %s: nobody vouches for it.\n", printable(k))
	}
	for _, name := range r.Agreed {
		says := "the hashes of the log go on from it; not all that it counts is in the log unchanged"
		if slices.Contains(r.Unchanged, name) {
			says = "all that it counts is in the log, unchanged"
		}
		fmt.Fprintf(&b, "%s: %s.\n", printable(name), says)
	}
	if len(o.Keys)+len(o.Checkpoints) == 0 {
		b.WriteString("Without a checkpoint or key from elsewhere nothing shows that the whole log was not written anew.\n")
	}
	_, err := cl.out.Write([]byte(b.String()))
	return err
}

func (cl *cli) newEvidenceKey() *cobra.Command {
	rotate := false
	c := cl.addJSON(&cobra.Command{
		Use:   "key",
		Short: "Show the key that others check this log by, or change it",
		Long: `Show the public key that signs checkpoints: give it to those who are to check what you
hand on. With --rotate the running server makes another one, from which on it signs; the
old key signs that it hands over, so that who knows the old one knows the new one too.
Rotate it where somebody else may have read the key's file, or got a backup with keys.`,
		Example: "  telltale evidence key\n  telltale evidence key --rotate",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var shown web.SealKey
			if rotate {
				err = newClient(cfg).do(c.Context(), http.MethodPost, "/evidence/key", nil, &shown)
			} else {
				shown.Key, err = readPublicKey(cfg.Data.Dir)
			}
			if err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(shown)
			}
			if shown.Before != "" {
				fmt.Fprintf(cl.err, "This key signs from here on. The one before has signed that it takes over, so who trusts that one\n(%s)\nneed not be given it:\n", printable(shown.Before))
			}
			_, err = fmt.Fprintln(cl.out, printable(shown.Key))
			return err
		},
	})
	c.Flags().BoolVar(&rotate, "rotate", false, "have another key sign from here on")
	return c
}

func readPublicKey(dir string) (string, error) {
	k, err := querylog.ReadSealKey(querylog.SealKeyPath(dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: the server makes it when it begins to seal the log, unless log.seal is off", err)
	case errors.Is(err, os.ErrPermission):
		return "", fmt.Errorf("%w: run this as the server's user, or by sudo", err)
	case err != nil:
		return "", err
	}
	return k.Public, nil
}

// rotateKey has another key sign the sealed log.
func (a *app) rotateKey(ctx context.Context) (web.SealKey, error) {
	public, old, err := a.log.RotateSealKey(ctx)
	return web.SealKey{Key: public, Before: old}, err
}
