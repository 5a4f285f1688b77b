package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/work/sqlitework"
)

// Exit codes; the help of the root command explains them.
const (
	exitDone      = 0
	exitError     = 1
	exitCancelled = 2
	exitSignIn    = 4
	exitPending   = 8
)

// mistake is a command line that can't be understood.
type mistake struct{ text string }

func (m *mistake) Error() string { return m.text }

// failure is an end that is explained to the person at the terminal.
type failure struct {
	text string     // one sentence
	code fault.Code // "" where no code fits
	page string     // address of the diagnostics page
	next []string   // commands to type, or what to do
	exit int        // exitError when 0
	ids  []string   // what support asks for; printed with -v
}

func (f *failure) Error() string { return f.text }

// errCancelled: the person said no.
var errCancelled = errors.New("cancelled")

// report prints how the command ended and returns the exit code.
func (p *process) report(ctx context.Context, c *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errCancelled) || ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		p.say("cancelled", "", "Nothing more is done from here")
		return exitCancelled
	}
	f := p.explain(c, err)
	if len(f.next) == 0 {
		f.next = []string{"the same command with -v prints the ids that support asks for"}
	}
	label := "error"
	if f.exit == exitPending {
		label = "pending"
	}
	if f.exit != exitPending || !p.quiet {
		p.say(label, string(f.code), f.text)
		p.line("page", f.page)
		for _, next := range f.next {
			p.line("next", next)
		}
	}
	if p.verbose {
		for _, id := range f.ids {
			p.line("id", id)
		}
	}
	return f.exit
}

// explain turns any error into what a person is told.
func (p *process) explain(c *cobra.Command, err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		if f.exit == 0 {
			f.exit = exitError
		}
		return f
	}
	if m, ok := errors.AsType[*mistake](err); ok || !p.running {
		text := err.Error()
		if ok {
			text = m.text
		}
		return &failure{text: text, next: []string{c.CommandPath() + " --help"}, exit: exitError}
	}
	if lost, ok := errors.AsType[*client.Unreachable](err); ok {
		return &failure{
			text: fmt.Sprintf("No answer from %s: %v", lost.Server, lost.Err), code: fault.Unavailable, exit: exitError,
			next: []string{"pinreset up", "or the same command with --server ADDRESS"},
		}
	}
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		return p.refused(c, problem)
	}
	return &failure{text: err.Error(), exit: exitError, next: nextOf(err)} // of this machine: its text says what to do
}

// nextOf is what to do about an error of this machine.
func nextOf(err error) []string {
	switch {
	case errors.Is(err, sqlitework.ErrInUse):
		return []string{"stop the other pinreset, or use another directory with --data"}
	case errors.Is(err, fs.ErrPermission):
		return []string{"choose a directory that you may write to with --data"}
	case errors.Is(err, sqlitework.ErrNewer):
		return []string{"use the pinreset that wrote the directory, or a newer one"}
	default:
		return []string{"correct what the message names and run the command again"}
	}
}

// refused explains the server's refusal.
func (p *process) refused(c *cobra.Command, problem *client.Problem) *failure {
	f := &failure{text: problem.Error(), code: problem.Code, page: problem.Diagnostics, exit: exitError}
	if problem.CorrelationID != "" {
		f.ids = append(f.ids, "correlation id "+problem.CorrelationID)
	}
	switch {
	case problem.Code == fault.Unauthenticated:
		f.exit = exitSignIn
		f.next = []string{"the same command with --token-file FILE"}
	case problem.Code == fault.NotFound && beside(c, "list") != "":
		f.next = []string{p.hint("%s", beside(c, "list"))}
	case problem.Instance != "":
		f.next = []string{p.hint("diag show %s", diagID(problem.Instance))}
	case problem.Status == http.StatusConflict && problem.Code != fault.TenantOnPremises && beside(c, "show") != "" && c.Flags().NArg() > 0:
		f.next = []string{p.hint("%s %s", beside(c, "show"), quoted(c.Flags().Arg(0)))}
	default:
		f.next = problem.Fix
	}
	if problem.RetryAfter > 0 {
		f.text += fmt.Sprintf("; try again in %s", problem.RetryAfter)
	}
	return f
}

// beside is the verb of the same noun, such as "device list" for "pinreset device show"; "" when there is none.
func beside(c *cobra.Command, verb string) string {
	if c.HasParent() {
		for _, sibling := range c.Parent().Commands() {
			if sibling.Name() == verb {
				_, path, _ := strings.Cut(sibling.CommandPath(), " ")
				return path
			}
		}
	}
	return ""
}

// diagID is the id in a diagnostics link; an id stays one.
func diagID(link string) string { return link[strings.LastIndex(link, "/")+1:] }

const (
	red   = "\x1b[31m"
	reset = "\x1b[0m"
)

// say prints the sentence that a command ends with.
func (p *process) say(label, code, text string) {
	if label == "error" && p.getenv(envNoColor) == "" && terminal(p.stderr) {
		label = red + label + ":" + reset
	} else {
		label += ":"
	}
	fmt.Fprintf(p.stderr, "%s %s\n", label, clean(strings.TrimSuffix(text, ".")))
	p.line("code", code)
}

func (p *process) line(label, text string) {
	if text != "" {
		fmt.Fprintf(p.stderr, "%-5s %s\n", label+":", clean(text))
	}
}
