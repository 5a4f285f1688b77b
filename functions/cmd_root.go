package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
)

// Names of the environment variables that stand in for flags.
const (
	envServer    = "PINRESET_SERVER"
	envTenant    = "PINRESET_TENANT"
	envTokenFile = "PINRESET_TOKEN_FILE"
	envData      = "PINRESET_DATA"
	envNoColor   = "NO_COLOR"
)

const (
	defaultServer = "http://" + defaultListen
	maxTokenFile  = 4 << 10
)

const rootHelp = `pinreset resets device passcodes through Microsoft Intune and onboards tenants to
Microsoft's PIN reset service.

"pinreset up" starts the server with everything on this machine; the other commands
are its clients. Data is printed on standard output, everything else on standard error.

Exit codes:
  0  done
  1  error; the message names a code and the next command to type
  2  cancelled, by Ctrl-C or by answering a question so
  4  sign-in required: the token is missing or not accepted
  8  still pending: it was started, or --watch ran out of time, and it has not ended yet

Environment (flags come first):
  PINRESET_SERVER      address of the server, like --server
  PINRESET_TENANT      tenant to work on, like --tenant
  PINRESET_TOKEN_FILE  file that holds the token, like --token-file
  PINRESET_DATA        data directory of "up"; its admin-token is the default token file
  NO_COLOR             any value switches colours off`

// process is one run of the command line.
type process struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time
	sleep          func(context.Context, time.Duration) error // between polls; nil: on the clock

	// Global flags.
	server    string
	tokenFile string
	tenant    string
	format    format
	fields    []string
	quiet     bool
	verbose   bool
	yes       bool
	noInput   bool

	running bool // the command line was understood, and its command has begun
}

func newProcess(getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) *process {
	return &process{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr, now: time.Now, format: tableFormat}
}

// run carries out the command that args name and returns the exit code.
func (p *process) run(ctx context.Context, args []string) int {
	root := p.command()
	root.SetArgs(args)
	executed, err := root.ExecuteContextC(ctx)
	return p.report(ctx, executed, err)
}

// command builds the tree of commands: noun, then verb.
func (p *process) command() *cobra.Command {
	root := p.noun("pinreset", "Reset device passcodes through Microsoft Intune",
		p.upCommand(), p.demoCommand(), p.simCommand(),
		p.tenantCommand(), p.policyCommand(), p.deviceCommand(), p.passcodeCommand(), p.approvalCommand(),
		p.diagCommand(), p.deadletterCommand(), p.notificationCommand(), p.auditCommand(), p.eventCommand(), p.tokenCommand(),
		p.doctorCommand(), p.backupCommand(), p.restoreCommand(), p.versionCommand())
	root.Long = rootHelp
	root.Version = thisBuild().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetIn(p.stdin)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &mistake{err.Error()} })

	f := root.PersistentFlags()
	f.StringVar(&p.server, "server", "", "address of the server (default "+defaultServer+")")
	f.StringVar(&p.tokenFile, "token-file", "", "file that holds the token (default admin-token in the data directory)")
	f.StringVar(&p.tenant, "tenant", "", "tenant by id or exact display name (default the only one there is)")
	f.VarP(&p.format, "output", "o", "table, json, jsonl or tsv")
	f.StringSliceVar(&p.fields, "fields", nil, "print these fields only: JSON names, dots reach inside (a,b.c)")
	f.BoolVarP(&p.quiet, "quiet", "q", false, "print no progress, only data and errors")
	f.BoolVarP(&p.verbose, "verbose", "v", false, "print each request and the ids that support asks for")
	f.BoolVarP(&p.yes, "yes", "y", false, "do not ask before something that can't be undone")
	f.BoolVar(&p.noInput, "no-input", false, "never ask; refuse where an answer would be needed")
	complete(root, "output", fixed(formats...))
	complete(root, "tenant", p.completeTenants)
	return root
}

// noun is a command that only has commands below it.
func (p *process) noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, DisableFlagsInUseLine: true}
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("%q is not a command of %q", args[0], c.CommandPath())
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			text += fmt.Sprintf("; did you mean %q?", near[0])
		}
		return &mistake{text}
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(verbs...)
	return c
}

// verb is a command that does something. Its use names the arguments in capitals, the optional ones in brackets; their
// number is checked by it.
func (p *process) verb(use, short string, do func(ctx context.Context, args []string) error) *cobra.Command {
	names := strings.Fields(use)[1:]
	return &cobra.Command{
		Use: use, Short: short, ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(c *cobra.Command, args []string) error {
			for i, name := range names {
				switch {
				case i >= len(args) && !strings.HasPrefix(name, "["):
					return &mistake{fmt.Sprintf("%q needs %s", c.CommandPath(), name)}
				case i < len(args) && strings.TrimSpace(args[i]) == "":
					return &mistake{strings.Trim(name, "[]") + " is empty"}
				}
			}
			if len(args) > len(names) {
				return &mistake{fmt.Sprintf("%q takes %s and no %q", c.CommandPath(), count(len(names), "argument"), args[len(names)])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			p.running = true
			return do(c.Context(), args)
		},
	}
}

// require marks flags of the command that must be given.
func require(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // a flag that the command does not have is a mistake in its own file
		}
	}
}

// value is a flag's, or the environment variable's that stands in for it, or the default.
func (p *process) value(flag, env, otherwise string) string {
	if flag != "" {
		return flag
	}
	if v := p.getenv(env); v != "" {
		return v
	}
	return otherwise
}

// api returns the client of the server with the token out of the token file.
func (p *process) api() (*client.Client, error) {
	path := p.value(p.tokenFile, envTokenFile, filepath.Join(p.value("", envData, defaultData), identity.AdminFile))
	token, err := readToken(path)
	if err != nil {
		return nil, err
	}
	o := client.Options{Server: p.value(p.server, envServer, defaultServer), Token: token, Sleep: p.sleep}
	if p.verbose {
		o.Observe = p.observe
	}
	c, err := client.New(o)
	if err != nil {
		return nil, &mistake{err.Error()}
	}
	return c, nil
}

func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", noToken("There is no token file %s", path)
	}
	var text []byte
	if err == nil {
		defer f.Close()
		text, err = io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	}
	token := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", noToken("The token file can't be read: %v", err)
	case token == "" || len(text) > maxTokenFile || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "", noToken("The file %s does not hold one token", path)
	}
	return token, nil
}

func noToken(format string, args ...any) error {
	return &failure{
		text: fmt.Sprintf(format, args...), code: fault.Unauthenticated, exit: exitSignIn,
		next: []string{"the same command with --token-file FILE", "on the server's own machine, `pinreset up` makes the file"},
	}
}

func (p *process) observe(e client.Exchange) {
	status := "no answer"
	if e.Status != 0 {
		status = fmt.Sprint(e.Status)
	}
	fmt.Fprintf(p.stderr, "%s %s → %s in %s", e.Method, clean(e.Path), status, e.Took.Round(time.Millisecond))
	if e.CorrelationID != "" {
		fmt.Fprintf(p.stderr, " (correlation id %s)", clean(e.CorrelationID))
	}
	fmt.Fprintln(p.stderr)
}

// note prints a line of progress.
func (p *process) note(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintln(p.stderr, clean(fmt.Sprintf(format, args...)))
	}
}

// hint is a command to type next, on the same tenant as this one.
func (p *process) hint(format string, args ...any) string {
	text := "pinreset " + fmt.Sprintf(format, args...)
	if p.tenant != "" {
		text += " --tenant " + quoted(p.tenant)
	}
	return text
}

// format is how data is printed.
type format string

const (
	tableFormat format = "table" // for people
	jsonFormat  format = "json"  // one value: an object, or an array of them
	jsonlFormat format = "jsonl" // one object a line
	tsvFormat   format = "tsv"   // one line a row, no heading; tab, line end and backslash are escaped by a backslash
)

var formats = []string{string(tableFormat), string(jsonFormat), string(jsonlFormat), string(tsvFormat)}

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

func (f *format) Set(s string) error {
	if !slices.Contains(formats, s) {
		return fmt.Errorf("must be one of %s", strings.Join(formats, ", "))
	}
	*f = format(s)
	return nil
}
