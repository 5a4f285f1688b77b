package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what the program knows about its own build.
type build struct {
	Version  string `json:"version"` // of the module, "(devel)" for a build without one
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from changes that are not committed
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild reads it from the build information that the Go tools put into every program.
func thisBuild() build {
	v := build{Version: version(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// String is the version in one line.
func (v build) String() string {
	return fmt.Sprintf("pinreset %s %s %s", v.Version, v.Go, v.Platform)
}

func (p *process) versionCommand() *cobra.Command {
	return p.verb("version", "Print the version", func(context.Context, []string) error {
		return printOne(p, columns("version", "commit", "modified", "go", "platform"), thisBuild(), nil)
	})
}
