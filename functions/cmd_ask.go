package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
)

// terminal reports whether a person is at the other end of the stream. A stream that is no file says so itself.
func terminal(stream any) bool {
	if s, ok := stream.(interface{ IsTerminal() bool }); ok {
		return s.IsTerminal()
	}
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// confirm lets the person type a word before something that can't be undone. With --yes it agrees at once; where nobody can
// answer it refuses.
func (p *process) confirm(ctx context.Context, what, word string) error {
	if p.yes {
		return nil
	}
	if p.noInput || !terminal(p.stdin) || !terminal(p.stderr) {
		return &failure{
			text: what + " can't be undone, and there is nobody to ask here",
			next: []string{"the same command with --yes"},
		}
	}
	fmt.Fprintf(p.stderr, "%s can't be undone. Type %s to go on: ", clean(what), clean(word))
	answer, err := p.readLine(ctx)
	if err != nil {
		return err
	}
	if answer != word {
		return errCancelled
	}
	return nil
}

// maxLine bounds an answer at the terminal.
const maxLine = 4 << 10

// readLine reads one line of standard input; the end of the input is a no. A read can't be interrupted, so that on Ctrl-C its
// goroutine is left behind for the few moments that the program still lives.
func (p *process) readLine(ctx context.Context) (string, error) {
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(io.LimitReader(p.stdin, maxLine)).ReadString('\n')
		read <- line{strings.TrimSpace(text), err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(p.stderr)
		return "", context.Cause(ctx)
	case l := <-read:
		if l.err != nil {
			fmt.Fprintln(p.stderr)
			return "", errCancelled
		}
		return l.text, nil
	}
}
