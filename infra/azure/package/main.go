// Command package makes what Azure Functions runs, from the module's root:
//
//	go run ./infra/azure/package
//
// It stages dist/azure and zips it to dist/azure.zip:
//
//	host.json
//	pinreset                       linux/amd64, static, executable
//	consent/function.json          one folder a function, as the host looks for them: children of the root
//	passcodereset-bulk/function.json
//	…
//
// A function's file lies beside its handler, functions/consent/function.json, and a handler's second one below it,
// functions/passcodereset/bulk/function.json. The name of a function's folder is the path that the host posts to.
//
// The zip is made by Unix's rules wherever this runs, so that the program keeps its execute bit, and the same tree makes the same bytes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"pinreset/infra/bundle"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := flag.String("o", filepath.Join("dist", "azure"), "directory to stage in, which is emptied first; the zip is beside it")
	flag.Parse()
	if err := run(ctx, *out); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
	fmt.Println(*out + ".zip")
}

func run(ctx context.Context, out string) error {
	if err := stage(ctx, ".", out); err != nil {
		return err
	}
	return bundle.Zip(out, out+".zip", executable)
}
