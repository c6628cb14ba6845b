// Package bundle writes and checks bundles: files by which a stranger can see that
// rows of a sealed log were not changed, added or taken out since they were written,
// what is withheld of it, and what nobody can see.
package bundle
