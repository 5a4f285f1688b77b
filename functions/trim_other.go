//go:build !linux

package main

// dropProgramPages does nothing where this is not known how.
func dropProgramPages() error { return nil }
