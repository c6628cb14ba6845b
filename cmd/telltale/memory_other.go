//go:build !linux

package main

func memoryBound() int64 { return 0 }
