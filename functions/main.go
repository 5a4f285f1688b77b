// Command pinreset resets device passcodes through Microsoft Intune and onboards tenants to Microsoft's PIN reset service.
//
// One program is both sides: `pinreset up` is the server with everything on one machine, and the other commands are thin
// clients of the server's HTTP API. `pinreset --help` lists them. Under the Azure Functions host it is the custom handler, and on
// AWS Lambda the bootstrap.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"pinreset/shared/host/azure"
	"pinreset/shared/host/lambda"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run is the program: it carries out the command that args name (without the program's own name) and returns the exit code.
// Data goes to stdout; progress, prompts and errors go to stderr. It ends early when ctx does.
//
// Without a command it works for the host that started it, which the host's own variable in the environment tells: AWS Lambda, or Azure
// Functions.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		if getenv(lambda.RuntimeVariable) != "" {
			return runLambda(ctx, getenv, stdout, stderr)
		}
		if port := getenv(azure.PortVariable); port != "" {
			return runAzure(ctx, port, getenv, stdout, stderr)
		}
	}
	return newProcess(getenv, stdin, stdout, stderr).run(ctx, args)
}
