package querylog

import "telltale/querylog/seal"

// A sealTree is the right edge of the sealed log: a tree of whole blocks, and one of the
// leaves behind them. So a leaf costs about one hash of a node beside its own.
type sealTree struct{ blocks, block seal.Tree }

// Size returns how many leaves there are.
func (t *sealTree) Size() int64 { return t.blocks.Size() + t.block.Size() }

// Add appends a leaf. Where a block is whole by it, its hash is returned.
func (t *sealTree) Add(h seal.Hash) (root seal.Hash, whole bool) {
	if t.block.Add(h); t.block.Size() < sealBlock {
		return root, false
	}
	root = t.block.Root()
	t.block = seal.Tree{}
	t.addBlock(root)
	return root, true
}

// addBlock appends a whole block.
func (t *sealTree) addBlock(root seal.Hash) {
	t.blocks.Push(seal.Node{Level: sealBlockLevel, Hash: root}) // it begins where it may
}

// Root returns the hash of all leaves.
func (t *sealTree) Root() seal.Hash {
	all := t.blocks.Clone()
	all.Append(&t.block) // fewer than a block
	return all.Root()
}

// clone returns a tree that changes by itself.
func (t *sealTree) clone() sealTree { return sealTree{t.blocks.Clone(), t.block.Clone()} }
