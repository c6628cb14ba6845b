package bundle

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"telltale/querylog/seal"
)

// Trust is what somebody who checks a bundle knows from elsewhere.
type Trust struct {
	Key        string // of the log, NAME+HASH+BASE64; "" for none
	Checkpoint []byte // of the log, from an earlier time; nil for none
}

// A Result is what a bundle shows, when nothing speaks against it.
type Result struct {
	About      About
	Checkpoint seal.Checkpoint // of the bundle
	Key        string          // that signed it
	Known      bool            // the key, or a checkpoint signed by one that it took over from, was given
	Counts     map[What]int64  // leaves
	First      int64           // of the rows' times; 0 where there are no rows
	Last       int64
	Given      *seal.Checkpoint // nil for none
	RowsBefore int64            // rows that were sealed when it was made
	Handovers  []int64          // leaves at which another key took over
	Began      int64            // when sealing did, as its first statement says; Unix milliseconds
	Off        []Off            // times in which sealing was off
	Deletions  []Deletion       // by which the bundle says leaves to be deleted
	Witnesses  int              // statements of others on heads of the log, which are not checked here
	Stamps     []Stamp          // by time-stamp authorities, of heads of the log; theirs is not checked here
}

// An Off is a time in which nothing was sealed, as the log states.
type Off struct {
	From  int64 `json:"from"`  // Unix milliseconds
	Until int64 `json:"until"` // 0: it is off since
}

// A Stamp is what a time-stamp authority answered to a head of this log.
type Stamp struct {
	Leaves     int64  `json:"leaves"`
	Note       string `json:"note"`      // the head, as the authority got it
	Timestamp  []byte `json:"timestamp"` // RFC 3161
	RowsBefore int64  `json:"-"`         // rows that the head counts

	root seal.Hash // of the note
	held bool      // the log's first leaves have that root
}

// A Deletion is leaves that the bundle says to be deleted, by removals of one kind which the
// log states.
type Deletion struct {
	Of, Why     string // of what, and why; "" where that cannot be told
	Leaves      int64
	Statements  int64 // removals
	First, Last int64 // leaves of these
}

// ErrNewer means that a bundle is of a later version.
var ErrNewer = errors.New("it was made by a later version of Telltale")

// Verify checks a bundle of so many octets. Each error means that it is not verified.
func Verify(r io.ReaderAt, size int64, trust *Trust) (*Result, error) {
	a, err := openArchive(r, size)
	if err != nil {
		return nil, err
	}
	v := &verifier{a: a, files: map[string]*lineReader{}, claims: map[int64]int64{}, stamped: map[int64]bool{}, Result: Result{Counts: map[What]int64{}}}
	if err := v.verify(trust); err != nil {
		return nil, err
	}
	return &v.Result, nil
}

type verifier struct {
	Result
	a        *archive
	files    map[string]*lineReader // of entries that are read line by line
	tree     seal.Tree
	previous *seal.Checkpoint // of the log before this one
	keys     []signer
	native   int64           // the largest number so far of what was not imported
	claims   map[int64]int64 // leaves said to be deleted, by the removal behind them
	stamped  map[int64]bool  // numbers of leaves at which a time-stamp is to be compared
	compared struct {        // where the given checkpoint was made
		size int64
		root seal.Hash
	}
}

// A signer is a key of the log.
type signer struct {
	public  string
	vouched bool  // the key before has signed for it
	from    int64 // it signs heads of more leaves than that; -1 for the first
}

func (v *verifier) verify(trust *Trust) error {
	if err := v.checkManifest(); err != nil {
		return err
	}
	if err := v.readAbout(); err != nil {
		return err
	}
	if err := v.readGiven(trust.Checkpoint); err != nil {
		return err
	}
	if err := v.readLeaves(); err != nil {
		return err
	}
	v.Stamps = slices.DeleteFunc(v.Stamps, func(s Stamp) bool { return !s.held }) // the others are of another log
	v.Witnesses -= len(v.Stamps)
	if v.tree.Size() != v.Checkpoint.Size || v.tree.Root() != v.Checkpoint.Root {
		return errors.New("the leaves are not those that its checkpoint is of")
	}
	if len(v.keys) == 0 {
		v.keys = []signer{{v.Key, false, -1}}
	}
	if v.keys[len(v.keys)-1].public != v.Key {
		return errors.New("its key is not the one that took over last")
	}
	return v.checkTrust(trust)
}

// whole reads an entry that is short.
func (v *verifier) whole(name string) (string, error) {
	h := v.entry(name)
	if h == nil || h.size > maxText {
		return "", fmt.Errorf("%s is missing or too long", name)
	}
	b, err := io.ReadAll(v.a.content(h))
	return string(b), err
}

func (v *verifier) entry(name string) *header {
	for i := range v.a.entries {
		if v.a.entries[i].name == name {
			return &v.a.entries[i]
		}
	}
	return nil
}

// openCheckpoint reads a checkpoint of a log of Telltale, as seal.OpenCheckpoint does.
func openCheckpoint(text []byte, public ...string) (seal.Checkpoint, error) {
	if len(text) > maxText {
		return seal.Checkpoint{}, fmt.Errorf("%w: it is longer than %d octets", seal.ErrCheckpoint, maxText)
	}
	c, err := seal.OpenCheckpoint(text, public...)
	if (err == nil || errors.Is(err, seal.ErrUnknownKey)) && !keyName.MatchString(c.Origin) {
		return seal.Checkpoint{}, fmt.Errorf("%w: %.80q is no origin of Telltale", seal.ErrCheckpoint, c.Origin)
	}
	return c, err
}

var (
	manifestHead = regexp.MustCompile(`^telltale bundle ([0-9]{1,9})\n`)
	keyName      = regexp.MustCompile(`^telltale/[0-9a-f]{16}$`)
	keyForm      = regexp.MustCompile(`^telltale/[0-9a-f]{16}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$`) // note.NewVerifier passes over line ends
)

// checkManifest checks the sums of all entries, and who signed them.
func (v *verifier) checkManifest() error {
	if last := len(v.a.entries) - 1; last < 0 || v.a.entries[last].name != manifestEntry {
		return errors.New("it has no manifest at its end: it is no bundle of Telltale")
	}
	text, err := v.whole(manifestEntry)
	if err != nil {
		return err
	}
	if crc32.ChecksumIEEE([]byte(text)) != v.entry(manifestEntry).crc {
		return errors.New("manifest.txt was changed: it has another sum")
	}
	m := manifestHead.FindStringSubmatch(text)
	if m == nil {
		return errors.New("its manifest is none of Telltale's")
	}
	if m[1] != strconv.Itoa(Format) {
		return fmt.Errorf("%w: it has version %s, and this one knows version %d", ErrNewer, m[1], Format)
	}
	if err := v.checkNames(); err != nil {
		return err
	}
	if err := v.readKey(); err != nil {
		return err
	}
	n, err := openSigned(text, v.Key)
	if err != nil {
		return fmt.Errorf("the manifest is not signed by the log's key, or not by that alone: %w", err)
	}
	lines := strings.SplitAfter(n.Text, "\n")
	if len(lines) != len(entryNames)+2 || lines[1] != v.Checkpoint.Origin+"\n" {
		return errors.New("the manifest has too many lines or too few, or is of another log")
	}
	for i, name := range entryNames[:len(entryNames)-1] {
		h, sum, crc := v.entry(name), sha256.New(), crc32.NewIEEE()
		if _, err := io.Copy(io.MultiWriter(sum, crc), v.a.content(h)); err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		if crc.Sum32() != h.crc || manifestLine(sum, h.size, name) != lines[2+i] {
			return fmt.Errorf("%s was changed: it has another sum than the manifest says", name)
		}
	}
	return nil
}

func (v *verifier) checkNames() error {
	for i, name := range entryNames {
		switch {
		case v.entry(name) == nil:
			return fmt.Errorf("%s is missing", name)
		case v.a.entries[i].name == name:
		case !slices.Contains(entryNames, v.a.entries[i].name):
			return fmt.Errorf("it has an entry %s, which no bundle has", v.a.entries[i].name)
		default:
			return fmt.Errorf("%s is not at its place", name)
		}
	}
	return nil
}

// readKey reads the key and the checkpoint that it signed.
func (v *verifier) readKey() error {
	key, err := v.whole(keyEntry)
	if err != nil {
		return err
	}
	v.Key = strings.TrimSuffix(key, "\n")
	if err := CheckKey(v.Key); err != nil {
		return fmt.Errorf("key.txt: %w", err)
	}
	text, err := v.whole(checkpointEntry)
	if err != nil {
		return err
	}
	if v.Checkpoint, err = seal.OpenCheckpoint([]byte(text), v.Key); err != nil {
		return fmt.Errorf("its checkpoint: %w", err)
	}
	if name, _, _ := strings.Cut(v.Key, "+"); name != v.Checkpoint.Origin {
		return errors.New("checkpoint and key are not of one log")
	}
	return nil
}

// CheckKey says what is wrong with the text of a log's public key.
func CheckKey(public string) error {
	if strings.HasPrefix(public, "PRIVATE+KEY+") {
		return errors.New("this is the log's private key: show it to nobody. 'telltale evidence key' prints the public one")
	}
	if _, err := note.NewVerifier(public); err != nil || !keyForm.MatchString(public) {
		return fmt.Errorf("%.120q is no key of Telltale, or was copied with a mistake: NAME+HASH+BASE64 is one", public)
	}
	return nil
}

// openSigned opens a note that one key has signed, and nobody else, in the only form
// that such a note has.
func openSigned(text, public string) (*note.Note, error) {
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return nil, err
	}
	n, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return nil, err
	}
	s := n.Sigs[0]
	if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil || text != n.Text+"\n— "+s.Name+" "+s.Base64+"\n" {
		return nil, errors.New("it has more than one signature, or one in another form")
	}
	return n, nil
}

func (v *verifier) readAbout() error {
	text, err := v.whole(aboutEntry)
	if err != nil {
		return err
	}
	err = json.Unmarshal([]byte(text), &v.About)
	if own, other := v.About.text(); err != nil || other != nil || own != text {
		return errors.Join(errors.New("about.json is not as Telltale writes it"), err, other)
	}
	witnesses, err := io.ReadAll(io.LimitReader(v.a.content(v.entry(witnessesEntry)), maxText)) // what is behind that is passed over
	for line := range strings.Lines(string(witnesses)) {
		v.readWitness(line)
	}
	return err
}

// readWitness reads a line of what others say. None of it makes a bundle wrong: it is not of the
// log's owner.
func (v *verifier) readWitness(line string) {
	v.Witnesses++
	var s Stamp
	if json.Unmarshal([]byte(line), &s) != nil || len(s.Timestamp) == 0 || len(v.Stamps) >= maxStamps {
		return
	}
	head, err := seal.OpenCheckpoint([]byte(s.Note))
	if err != nil && !errors.Is(err, seal.ErrUnknownKey) || head.Size != s.Leaves || head.Size <= 0 {
		return
	}
	s.root = head.Root
	v.Stamps = append(v.Stamps, s)
	v.stamped[s.Leaves] = true
}

// compareStamps compares the heads that have time-stamps with the log so far.
func (v *verifier) compareStamps() {
	if !v.stamped[v.tree.Size()] {
		return
	}
	root := v.tree.Root()
	for i := range v.Stamps {
		if s := &v.Stamps[i]; s.Leaves == v.tree.Size() && s.root == root {
			s.held, s.RowsBefore = true, v.Counts[Row]
		}
	}
}

func (v *verifier) readGiven(text []byte) error {
	if text == nil {
		return nil
	}
	given, err := openCheckpoint(text)
	if err != nil && !errors.Is(err, seal.ErrUnknownKey) {
		return fmt.Errorf("the checkpoint that you gave: %w", err)
	}
	if given.Size <= 0 || given.Size > v.Checkpoint.Size {
		return fmt.Errorf("the checkpoint that you gave is of %d leaves and the bundle's of %d: it is later than the bundle, or of an empty log. Give an earlier one, or ask for a new bundle",
			given.Size, v.Checkpoint.Size)
	}
	v.Given = &given
	return nil
}

// checkTrust compares what the bundle says with what is known from elsewhere.
func (v *verifier) checkTrust(trust *Trust) error {
	trusted := len(v.keys)
	if trust.Key != "" {
		if err := CheckKey(trust.Key); err != nil {
			return err
		}
		i := len(v.keys) - 1 // the last time that it took over: a key that was lost and put back signs twice
		for i >= 0 && v.keys[i].public != trust.Key {
			i--
		}
		if i < 0 {
			return errors.New("it is not signed by the key that you gave, nor by one that took over from it: it is of another log, or somebody else made it")
		}
		trusted = i
	}
	if v.Given != nil {
		if v.compared.size != v.Given.Size || v.compared.root != v.Given.Root {
			return fmt.Errorf("the checkpoint that you gave is of another log: its %d leaves are not the bundle's first ones", v.Given.Size)
		}
		i := v.signerAt(v.Given.Size)
		if _, err := seal.OpenCheckpoint(trust.Checkpoint, v.keys[i].public); err != nil {
			return fmt.Errorf("the checkpoint that you gave is not signed by the key that the log had then: %w", err)
		}
		trusted = min(trusted, i)
	}
	v.Known = trusted < len(v.keys)
	for i := trusted + 1; i < len(v.keys); i++ {
		if k := &v.keys[i]; !k.vouched {
			return fmt.Errorf("at leaf %d another key took over without a signature by the one before: nobody vouches for it to who trusts that one", k.from)
		}
	}
	return nil
}

// signerAt returns which key signs heads of so many leaves.
func (v *verifier) signerAt(size int64) (i int) {
	for i+1 < len(v.keys) && v.keys[i+1].from < size {
		i++
	}
	return i
}

// readLeaves reads the log from its first leaf to its last.
func (v *verifier) readLeaves() error {
	for _, name := range []string{accountEntry, leavesEntry, statementsEntry, ledgerEntry, rowsEntry, csvEntry} {
		v.files[name] = newLineReader(v.a.content(v.entry(name)))
	}
	if head, err := v.files[csvEntry].next(); err != nil || string(head)+"\n" != csvHead() {
		return errors.New("rows.csv does not begin with its columns")
	}
	leaves := v.entry(leavesEntry).size
	for {
		line, err := v.files[accountEntry].next()
		if err == io.EOF {
			break
		}
		var run account
		if err == nil {
			run, err = readAccount(line, v.tree.Size())
		}
		if err != nil {
			return fmt.Errorf("leaves.txt: %w", err)
		}
		if run.first+run.count > leaves/seal.SecretSize {
			return errors.New("leaves.txt says of more leaves than there are")
		}
		if err := v.readRun(&run); err != nil {
			return err
		}
	}
	if v.tree.Size()*int64(len(seal.Hash{})) != leaves {
		return errors.New("leaves.txt says of fewer leaves than there are")
	}
	for _, name := range []string{statementsEntry, ledgerEntry, rowsEntry, csvEntry} {
		if _, err := v.files[name].next(); err != io.EOF {
			return fmt.Errorf("%s has lines that are no leaves: added, doubled or moved", name)
		}
	}
	for leaf := range v.claims {
		return fmt.Errorf("leaves are said to be deleted by leaf %d, which is no removal", leaf)
	}
	return nil
}
