package seal

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// A Node is a leaf (level 0) or a complete subtree of 2^Level leaves, which
// begins at a multiple of that.
type Node struct {
	Level int
	Hash  Hash
}

// Leaves returns how many leaves are below it.
func (n Node) Leaves() int64 { return 1 << n.Level }

// ErrPlace means that a subtree does not begin at a multiple of its size, or that
// there are too many leaves.
var ErrPlace = errors.New("a subtree at a place where it cannot be")

// A Tree is the right edge of a log's Merkle tree: what is needed to append to it
// and to compute its root. The zero value has no leaf.
type Tree struct {
	size  int64
	stack []Node // complete subtrees, from the left; each is smaller than the one before
}

// Size returns how many leaves the tree has.
func (t *Tree) Size() int64 { return t.size }

// Add appends a leaf.
func (t *Tree) Add(leaf Hash) { t.push(Node{0, leaf}) }

// Push appends a leaf or a subtree.
func (t *Tree) Push(n Node) error {
	if n.Level < 0 || n.Level > 48 || t.size&(n.Leaves()-1) != 0 || t.size+n.Leaves() > MaxLeaves {
		return fmt.Errorf("%w: %d leaves behind leaf %d", ErrPlace, n.Leaves(), t.size)
	}
	t.push(n)
	return nil
}

func (t *Tree) push(n Node) {
	t.size += n.Leaves()
	for last := len(t.stack) - 1; last >= 0 && t.stack[last].Level == n.Level; last-- {
		n = Node{n.Level + 1, tlog.NodeHash(t.stack[last].Hash, n.Hash)}
		t.stack = t.stack[:last]
	}
	t.stack = append(t.stack, n)
}

// Root returns the hash of all leaves.
func (t *Tree) Root() Hash {
	if len(t.stack) == 0 {
		return sha256.Sum256(nil)
	}
	root := t.stack[len(t.stack)-1].Hash
	for i := len(t.stack) - 2; i >= 0; i-- {
		root = tlog.NodeHash(t.stack[i].Hash, root)
	}
	return root
}

// Append appends the leaves of another tree, which has fewer than any subtree of this one.
func (t *Tree) Append(o *Tree) error {
	for _, n := range o.stack {
		if err := t.Push(n); err != nil {
			return err
		}
	}
	return nil
}

// Clone returns a tree that changes by itself.
func (t *Tree) Clone() Tree { return Tree{t.size, append([]Node(nil), t.stack...)} }
