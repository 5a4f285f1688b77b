// Command package makes what AWS Lambda runs, from the module's root:
//
//	go run ./infra/aws/package
//
// It stages dist/lambda-arm64/bootstrap and dist/lambda-amd64/bootstrap and zips each beside its directory: dist/lambda-arm64.zip and
// dist/lambda-amd64.zip, with the one file that the runtime provided.al2023 starts. Every function is the same zip; its environment
// says which it is.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"pinreset/infra/bundle"
)

// executable is the name that the runtime starts.
const executable = "bootstrap"

// architectures are those that Lambda has, by Go's names.
var architectures = []string{"arm64", "amd64"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := flag.String("o", "dist", "directory to stage below; the zips are in it")
	only := flag.String("arch", "", "make it for this architecture alone: "+strings.Join(architectures, " or "))
	flag.Parse()
	wanted := architectures
	if *only != "" {
		wanted = []string{*only}
	}
	for _, architecture := range wanted {
		file, err := run(ctx, ".", *out, architecture)
		if err != nil {
			fmt.Fprintln(os.Stderr, "package:", err)
			os.Exit(1)
		}
		fmt.Println(file)
	}
}

// run stages and zips the program for the architecture, from the module whose root is given, and returns the zip.
func run(ctx context.Context, root, out, architecture string) (string, error) {
	if !slices.Contains(architectures, architecture) {
		return "", fmt.Errorf("no Lambda runs on %q: choose %s", architecture, strings.Join(architectures, " or "))
	}
	staged := filepath.Join(out, "lambda-"+architecture)
	if err := os.RemoveAll(staged); err != nil {
		return "", err
	}
	if err := os.MkdirAll(staged, 0o755); err != nil {
		return "", err
	}
	if err := bundle.Build(ctx, root, filepath.Join(staged, executable), "linux", architecture); err != nil {
		return "", err
	}
	return staged + ".zip", bundle.Zip(staged, staged+".zip", executable)
}
