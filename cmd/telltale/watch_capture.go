package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"telltale/peerlogs"
	"telltale/querylog"
)

func (cl *cli) newWatchCapture() *cobra.Command {
	mode := ""
	w := &captureWatch{cl: cl, im: &importer{cl: cl, zone: time.Local}}
	c := cl.addJSON(&cobra.Command{
		Use:   "watch-capture SOCKET|-",
		Short: "Take over lookups from dnstap or a capture of packets, as they come",
		Long: `Add to the log what other programs see of DNS, as it comes: dnstap, which resolvers send
to a socket, and captures of packets (pcap, pcapng), such as tcpdump writes. It is what
'telltale import' does with files, for what has no end: rows are marked as imported, from
dnstap or capture, and are in 'telltale log', 'top' and reports some seconds later.

SOCKET is a path at which a Unix socket is made: whoever connects sends dnstap or a
capture. With - it is the standard input. Of a capture, DNS over UDP and TCP from and to
port 53 counts.

The server may run, and stores what comes; with no server, this does. It ends with the
input, or by Ctrl-C, and tells then what was taken over.`,
		Example: `  sudo tcpdump -i eth0 -U -w - port 53 | telltale watch-capture -
  telltale watch-capture /run/telltale/dnstap.sock --socket-mode 0660
  ssh router tcpdump -U -w - port 53 | telltale watch-capture - --config study/telltale.yaml`,
		Args: oneArg("socket, or - for the standard input"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			bits, err := strconv.ParseUint(mode, 8, 32)
			if err != nil || bits > 0o777 {
				return usage("--socket-mode: %q is no mode of a file; 0660 is", mode)
			}
			if w.im.cfg, err = cl.load(); err != nil {
				return err
			}
			return w.run(c.Context(), args[0], fs.FileMode(bits))
		},
	})
	c.Flags().StringVar(&mode, "socket-mode", "0660", "who may connect to the socket, as chmod has it")
	return c
}

const (
	// storeEvery is how often what came is stored. Equal lookups within it are a row.
	storeEvery = 5 * time.Second

	// serverBackWithin is how long a server that was there may be away.
	serverBackWithin = time.Minute

	// sendersMost is how many programs may send at once.
	sendersMost = 64

	// endWithin is how long the input may take to end once a person ended the command, and
	// storeWithin how long the last lookups may take to be stored.
	endWithin   = time.Second
	storeWithin = 30 * time.Second
)

// A captureWatch takes over what programs send while they run.
type captureWatch struct {
	cl *cli
	im *importer

	lookups chan sentLookup
	stopped chan struct{} // is closed when nobody takes lookups any more
	out     importedFile
	batches map[string]*querylog.ImportBatch // by format

	mu    sync.Mutex
	open  map[net.Conn]bool
	bad   uint64
	first []string // of what could not be read
	notes []string
}

// A sentLookup is a lookup on its way to the log.
type sentLookup struct {
	format *peerlogs.Format
	querylog.ImportedLookup
}

func (w *captureWatch) run(ctx context.Context, from string, mode fs.FileMode) error {
	w.lookups, w.stopped = make(chan sentLookup, lookupsAtOnce), make(chan struct{})
	w.open, w.batches = map[net.Conn]bool{}, map[string]*querylog.ImportBatch{}
	w.out.File = from
	if from == "-" {
		w.out.File = "standard input"
		if onTerminal(w.cl.in) {
			return errors.New("the standard input is a terminal: let tcpdump -U -w - or another program write into it ('telltale watch-capture --help')")
		}
	}
	finish, err := w.im.open(ctx)
	if err != nil {
		return err
	}
	read, wait := w.readInput, false // of the standard input it may never return
	if from != "-" {
		l, err := listenUnix(from, mode)
		if err != nil {
			return errors.Join(err, finish())
		}
		fmt.Fprintf(w.cl.err, "telltale: %s takes dnstap and captures of packets, until Ctrl-C\n", printable(from))
		read, wait = func(ctx context.Context) error { return w.serve(ctx, l) }, true
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	ended, gone := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(gone)
		ended <- read(reading)
	}()
	err = w.store(ctx, ended)
	stop()
	close(w.stopped)
	if wait {
		<-gone
	}
	err = errors.Join(err, finish())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.Bad, w.out.Errors, w.out.Notes = w.bad, w.first, w.notes
	return errors.Join(w.say(), err)
}

// readInput reads the standard input to its end.
func (w *captureWatch) readInput(context.Context) error {
	switch err := w.read(w.cl.in, nil); {
	case err == io.EOF:
		return errors.New("the standard input has nothing in it")
	default:
		return err
	}
}

// listenUnix makes a socket. One that a program left which is no more is replaced; nothing
// else is.
func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		switch {
		case info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is a file: 'telltale import %s' takes it over", path, path)
		case info.Mode()&fs.ModeSocket == 0:
			return nil, fmt.Errorf("%s is there, and no socket", path)
		}
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			return nil, fmt.Errorf("%s is the socket of a program that runs", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// serve takes connections until ctx is done, and returns when all are read.
func (w *captureWatch) serve(ctx context.Context, l net.Listener) error {
	var senders sync.WaitGroup
	defer senders.Wait()
	defer context.AfterFunc(ctx, func() {
		l.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		for c := range w.open {
			c.Close()
		}
	})()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		if !w.begin(ctx, c) {
			c.Close()
			if ctx.Err() != nil {
				return nil
			}
			fmt.Fprintf(w.cl.err, "telltale: %d programs send already: one more was turned away\n", sendersMost)
			continue
		}
		senders.Go(func() {
			if err := w.read(c, c); err != nil && ctx.Err() == nil && err != io.EOF {
				fmt.Fprintf(w.cl.err, "telltale: a program that sent was turned away: %v\n", err)
			}
			w.mu.Lock()
			delete(w.open, c)
			w.mu.Unlock()
			c.Close()
		})
	}
}

// begin takes a connection in, if there is room and ctx is not done: when it is, those that
// are in are closed, and none that comes later would be.
func (w *captureWatch) begin(ctx context.Context, c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil || len(w.open) >= sendersMost {
		return false
	}
	w.open[c] = true
	return true
}

// read reads what a program sends, to its end.
func (w *captureWatch) read(r io.Reader, reply io.Writer) error {
	l, err := peerlogs.OpenStream(r, reply, peerlogs.Options{})
	if err != nil {
		return err
	}
	defer l.Close()
	defer func() { w.addNotes(l.Notes()) }()
	for {
		u, err := l.Next()
		var bad *peerlogs.BadRecord
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &bad):
			w.addBad(bad)
		case err != nil:
			return err
		default:
			select {
			case w.lookups <- sentLookup{l.Format(), importedLookup(u)}:
			case <-w.stopped:
				return nil
			}
		}
	}
}

func (w *captureWatch) addBad(bad *peerlogs.BadRecord) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad++
	if len(w.first) < recordsShown {
		w.first = append(w.first, printable(bad.Error()))
	}
}

// addNotes keeps what is to be told of what a program sent. Of very many, the first.
func (w *captureWatch) addNotes(notes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, notes[:min(len(notes), max(recordsShown-len(w.notes), 0))]...)
}

// store stores what comes until all that reads has ended, or a person ends it.
func (w *captureWatch) store(ctx context.Context, ended <-chan error) error {
	ticker := time.NewTicker(storeEvery)
	defer ticker.Stop()
	storing := context.WithoutCancel(ctx) // what came is stored, whoever ends this
	var late <-chan time.Time
	done := ctx.Done()
	for {
		select {
		case u := <-w.lookups:
			if w.add(&u) < lookupsAtOnce {
				continue
			}
		case <-ticker.C:
		case <-done:
			done, late = nil, time.After(endWithin)
			continue
		case <-late:
			return w.last(storing, nil)
		case err := <-ended:
			return w.last(storing, err)
		}
		if err := w.flush(storing, ctx.Done(), false); err != nil {
			return err
		}
	}
}

// last stores what is left, and has it told in the ledger.
func (w *captureWatch) last(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	for {
		select {
		case u := <-w.lookups:
			if w.add(&u) < lookupsAtOnce {
				continue
			}
			if e := w.flush(ctx, ctx.Done(), false); e != nil {
				return errors.Join(err, e)
			}
		default:
			return errors.Join(err, w.flush(ctx, ctx.Done(), true))
		}
	}
}

// add puts a lookup into the batch of its format, and returns how many that has.
func (w *captureWatch) add(u *sentLookup) int {
	b := w.batches[u.format.Name]
	if b == nil {
		b = &querylog.ImportBatch{Source: querylog.ImportSource{
			Key: u.format.Name + ":live:" + rand.Text(), Format: u.format.Name, File: filepath.Base(w.out.File), Lost: u.format.Lost,
		}}
		w.batches[u.format.Name] = b
	}
	b.Lookups = append(b.Lookups, u.ImportedLookup)
	b.To++
	at := querylog.Time{Time: u.Time}
	if w.out.First.IsZero() || at.Before(w.out.First.Time) {
		w.out.First = at
	}
	if at.After(w.out.Last.Time) {
		w.out.Last = at
	}
	w.out.Format = u.format.Name
	return len(b.Lookups)
}

// flush stores the batches at hand. A server that is started again has a minute for it, unless
// a person ends this.
func (w *captureWatch) flush(ctx context.Context, ended <-chan struct{}, end bool) error {
	for _, b := range w.batches {
		if len(b.Lookups) == 0 && !end {
			continue
		}
		sent := *b
		sent.End = end
		got, err := w.im.send(ctx, &sent)
		for begun := time.Now(); errors.Is(err, errStopped) && time.Since(begun) < serverBackWithin; {
			select {
			case <-ended:
				begun = time.Time{}
			case <-time.After(time.Second):
			}
			got, err = w.im.send(ctx, &sent)
		}
		if err != nil {
			return fmt.Errorf("%d lookups were not stored: %w", w.unstored(), err)
		}
		w.out.Add(got)
		b.From, b.Lookups = b.To, nil
	}
	return nil
}

// unstored is how many lookups wait to be stored: those of all formats, and those on their way.
func (w *captureWatch) unstored() int {
	n := len(w.lookups)
	for _, b := range w.batches {
		n += len(b.Lookups)
	}
	return n
}

// say tells what was taken over.
func (w *captureWatch) say() error {
	if len(w.batches) > 1 {
		w.out.Format = "dnstap, capture"
	}
	return w.im.say(&w.out)
}
