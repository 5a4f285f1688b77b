package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"syscall"

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

// errNoReason is the refusal of commands that need no reason to look only.
var errNoReason = &mistake{"--reason is needed, unless it is a --dry-run"}

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
	case errors.Is(err, syscall.EADDRINUSE):
		return []string{"stop the program that listens there, or choose another address: --help names the flags"}
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
	if problem.Code == fault.InvalidRequest && len(problem.Errors) > 0 {
		f.text = problem.Title
		for i, e := range problem.Errors {
			name, flag := named(c, e.Location)
			if flag {
				f.next = []string{c.CommandPath() + " --help"}
			}
			f.text += []string{": ", "; "}[min(i, 1)] + strings.TrimSpace(name+" "+e.Message)
		}
	}
	if problem.RetryAfter > 0 {
		f.text += fmt.Sprintf("; try again in %s", problem.RetryAfter)
	}
	return f
}

// flagOf names the flags that have not the name of the field that they fill.
var flagOf = map[string]string{
	"include": "group", "planHash": "plan", "planOnly": "dry-run", "displayName": "name", "permissions": "permission", "tenants": "for",
}

// named is what the command line calls a place of the request, such as --reason for body.reason. What no flag fills, such as a
// field of an event, keeps its name; the whole body has none.
func named(c *cobra.Command, location string) (name string, flag bool) {
	_, field, _ := strings.Cut(location, ".")
	first, _, _ := strings.Cut(field, "[") // "include[0]"
	for _, name := range []string{kebab(first), flagOf[first]} {
		if name != "" && c.Flags().Lookup(name) != nil {
			return "--" + name, true
		}
	}
	return field, false
}

// kebab writes the name of a JSON field as a flag: allUsers as all-users.
func kebab(field string) string {
	var b strings.Builder
	for i, r := range field {
		if 'A' <= r && r <= 'Z' {
			if i > 0 {
				b.WriteByte('-')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
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
