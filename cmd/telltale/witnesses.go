package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"telltale/config"
	"telltale/evidence/post"
	"telltale/evidence/witness"
	"telltale/querylog"
	"telltale/querylog/seal"
	"telltale/web"
)

func (a *app) witnessOptions(cfg *config.Config) witness.Options {
	w := &cfg.Evidence.Witness
	return witness.Options{
		Dir: w.Dir, URL: w.URL, Every: w.Every, Answers: querylog.SealAnswersPath(cfg.Data.Dir),
		Timestamp: w.Timestamp, Timestamps: querylog.SealTimestampsPath(cfg.Data.Dir), Agent: agent(), Logger: a.logger,
		Transport: post.Transport(a.dial, nil),
	}
}

func (a *app) offerCheckpoint(c seal.Checkpoint, note []byte) {
	a.witnesses.Offer(witness.Checkpoint{Origin: c.Origin, Leaves: c.Size, Note: note})
}

// sendCheckpoints hands checkpoints to the witnesses until ctx ends: first the one that
// was signed last, which the server may have signed as it stopped.
func (a *app) sendCheckpoints(ctx context.Context) {
	head, note, err := querylog.ReadSealHead(a.cfg.Load().Data.Dir)
	switch {
	case err == nil:
		a.offerCheckpoint(head, note)
	case !errors.Is(err, fs.ErrNotExist): // the log says what is wrong with it
		a.logger.Debug("the last checkpoint is not sent to witnesses", "error", err)
	}
	a.witnesses.Run(ctx)
}

func (a *app) witnessStatus() []web.Witness {
	all := []web.Witness{}
	for _, st := range a.witnesses.Status() {
		all = append(all, web.Witness{To: st.To, Leaves: st.Leaves, Time: timeOrNil(st.Time), Problem: st.Problem, Since: timeOrNil(st.Since), Late: st.Late})
	}
	return all
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// witnesses says which witnesses take no checkpoints.
func (d *doctor) witnesses(st *web.Status) {
	for i := range st.Witnesses {
		w := &st.Witnesses[i]
		switch {
		case w.Late:
			d.finds(stateWarning, "witness-failed", w.To, fmt.Sprintf("%s takes no checkpoints of the sealed log since %s: %s", w.To, when(*w.Since), w.Problem),
				"put that right, there or in evidence.witness (docs/seals.md): it is tried again every hour")
		case w.Problem != "":
			d.says("witness", "%s did not take the last checkpoint, and is tried again: %s", w.To, w.Problem)
		case w.Time != nil:
			d.says("witness", "%s has the checkpoint of %s, since %s", w.To, numberOf(uint64(w.Leaves), "leaf", "leaves"), when(*w.Time))
		}
	}
}

// witnesses writes what witnesses answered, and the time-stamps of checkpoints.
func (b *bundling) witnesses(w io.Writer) error {
	dir := b.l.cfg.Data.Dir
	lines, err := witness.ReadAnswers(querylog.SealAnswersPath(dir))
	if err != nil {
		return err
	}
	if small {
		_, err = w.Write(lines)
		return err
	}
	stamps, err := witness.ReadStamps(querylog.SealTimestampsPath(dir), b.head.Origin, b.head.Size, b.since)
	if err == nil {
		_, err = w.Write(append(lines, stamps...))
	}
	return err
}
