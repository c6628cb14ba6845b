package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"telltale/querylog"
)

// sqlite is a Store in a data directory: a log like a node's own, with the logs of all nodes in it. It is good for some ten million rows.
type sqlite struct {
	log    *querylog.Log
	reader *querylog.Reader
}

// OpenSQLite opens the store of a centre in a data directory. Of Options, Unsealed is always set: every node seals what it has recorded.
func OpenSQLite(o querylog.Options) (Store, error) {
	o.Unsealed = true
	l, err := querylog.Open(o)
	if err != nil {
		return nil, err
	}
	r, err := querylog.OpenReader(o.Dir)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &sqlite{l, r}, nil
}

func (s *sqlite) Append(ctx context.Context, batches []*Batch) (all []Stored, err error) {
	got, err := s.log.Receive(ctx, batches)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for i, g := range got {
		one := Stored{Upto: g.Upto, Rows: g.Rows}
		switch b := batches[i]; {
		case g.Gap:
			one.Err = &GapError{b.Store, b.From, g.Upto}
		case g.Diverged != 0:
			one.Err = &DivergedError{b.Store, g.Diverged, g.Owner}
		case g.Refused != nil:
			one.Err = fmt.Errorf("store %s up to window %d cannot be stored: %w", b.Store, b.To, g.Refused)
		}
		all = append(all, one)
	}
	return all, nil
}

func (s *sqlite) Cursor(ctx context.Context, store string) (int64, error) {
	all, err := s.reader.ShippedStores(ctx)
	for i := range all {
		if all[i].Store == store {
			return all[i].Upto, err
		}
	}
	return 0, err
}

func (s *sqlite) Nodes(ctx context.Context) (nodes []NodeState, err error) {
	all, err := s.reader.ShippedStores(ctx)
	for _, n := range all {
		nodes = append(nodes, NodeState{n.Node, n.Store, n.Upto, n.Last.Time, n.Heard.Time, n.Windows, n.Rows})
	}
	return nodes, err
}

func (s *sqlite) Open(context.Context) (Reader, func(), error) { return s.reader, func() {}, nil }

func (s *sqlite) Keys(ctx context.Context, each func(Key) error) error {
	return s.reader.ShippedKeys(ctx, func(store string, id int64) error { return each(Key{store, id}) })
}

func (s *sqlite) Forget(ctx context.Context, f Forgetting) (int64, error) {
	if f.Node == "" && len(f.Devices) == 0 {
		return 0, errNothing
	}
	for _, d := range f.Devices {
		if err := s.log.RefuseDevice(ctx, f.Node, f.Refused(d, time.Now())); err != nil {
			return 0, err
		}
	}
	got, err := s.log.Forget(ctx, querylog.Forgetting{Node: f.Node, Devices: f.Devices, Words: f.Words})
	return got.Rows, err
}

var errNothing = errors.New("neither a node nor a device is said that is to be forgotten")

// ErrNotRetained means that nothing is deleted by age at present, and why.
var ErrNotRetained = errors.New("nothing is deleted by age for now")

func (s *sqlite) Retain(ctx context.Context, _ time.Time) error {
	held, err := s.log.Retain(ctx)
	if err == nil && held != "" {
		err = fmt.Errorf("%w: %s", ErrNotRetained, held)
	}
	return err
}

func (s *sqlite) Close() error { return s.log.Close() }
