//go:build !small

package main

// small reports whether this is the program for small machines.
const small = false
