package functionshost

import (
	"archive/zip"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// app is what was deployed.
type app struct {
	root       string
	executable string
	timeout    time.Duration // of a function
	start      time.Duration
	renewal    time.Duration // how long a message's lock is renewed
	calls      int           // of one function at once
	prefix     string
	functions  []function
}

type kind int

const (
	queueTrigger kind = iota
	timerTrigger
	httpTrigger
)

// function is a folder with a function.json.
type function struct {
	name    string
	kind    kind
	binding string
	queue   string
}

// unpack writes the zip's files below dir, with their modes, and refuses what the host would not find.
func unpack(file, dir string) (err error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("open package: %w", err)
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	found := false
	for _, f := range z.File {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("package: %s is outside of it", f.Name)
		}
		found = found || f.Name == "host.json"
		if f.FileInfo().IsDir() {
			continue
		}
		if err := unpackFile(f, filepath.Join(dir, filepath.FromSlash(f.Name))); err != nil {
			return fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	if !found {
		return errors.New("package: there is no host.json at the top; is there a directory around everything?")
	}
	return nil
}

func unpackFile(f *zip.File, to string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	// A process that another goroutine starts meanwhile would inherit the open file for a moment, and a file that is open for writing
	// can't be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, f.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in) //nolint:gosec // a package that we made
	return err
}

// readApp reads what was unpacked. Its error names the first thing that the host would not run.
func readApp(root string, settings map[string]string) (app, error) {
	var file struct {
		FunctionTimeout *duration
		CustomHandler   struct {
			Description struct {
				DefaultExecutablePath string
			}
			EnableProxyingHTTPRequest bool `json:"enableProxyingHttpRequest"`
			InitializationTimeout     *duration
		}
		Extensions struct {
			HTTP struct {
				RoutePrefix *string
			}
			ServiceBus struct {
				AutoCompleteMessages       *bool
				MaxConcurrentCalls         int
				MaxAutoLockRenewalDuration *duration
			}
		}
	}
	if err := readJSON(filepath.Join(root, "host.json"), &file); err != nil {
		return app{}, err
	}
	a := app{root: root, timeout: 30 * time.Minute, start: 30 * time.Second, renewal: 5 * time.Minute, calls: 16, prefix: "api"}
	for from, to := range map[*duration]*time.Duration{
		file.FunctionTimeout: &a.timeout, file.CustomHandler.InitializationTimeout: &a.start, file.Extensions.ServiceBus.MaxAutoLockRenewalDuration: &a.renewal,
	} {
		if from != nil {
			*to = time.Duration(*from)
		}
	}
	if n := file.Extensions.ServiceBus.MaxConcurrentCalls; n > 0 {
		a.calls = n
	}
	if p := file.Extensions.HTTP.RoutePrefix; p != nil {
		a.prefix = *p
	}
	if auto := file.Extensions.ServiceBus.AutoCompleteMessages; auto != nil && !*auto {
		return app{}, errors.New("host.json: autoCompleteMessages is off, which is not modelled")
	}
	a.executable = filepath.Join(root, file.CustomHandler.Description.DefaultExecutablePath)
	if err := checkExecutable(a.executable); err != nil {
		return app{}, err
	}
	files, err := filepath.Glob(filepath.Join(root, "*", "function.json"))
	if err != nil {
		return app{}, err
	}
	for _, file := range files {
		f, err := readFunction(file, settings)
		if err != nil {
			return app{}, fmt.Errorf("function %s: %w", filepath.Base(filepath.Dir(file)), err)
		}
		a.functions = append(a.functions, f)
	}
	if len(a.functions) == 0 {
		return app{}, errors.New("package: there is no function")
	}
	for _, f := range a.functions {
		if f.kind == httpTrigger && !file.CustomHandler.EnableProxyingHTTPRequest {
			return app{}, errors.New("host.json: enableProxyingHttpRequest is off, which is not modelled")
		}
	}
	return a, nil
}

// checkExecutable refuses what could not be started where Functions runs.
func checkExecutable(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("custom handler: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("custom handler: mode %s cannot be executed", info.Mode())
	}
	e, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("custom handler: %w", err)
	}
	defer e.Close()
	if e.Class != elf.ELFCLASS64 || e.Machine != elf.EM_X86_64 {
		return fmt.Errorf("custom handler: it is for %s", e.Machine)
	}
	return nil
}

var functionName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,127}$`)

func readFunction(file string, settings map[string]string) (function, error) {
	var content struct {
		Bindings []struct {
			Type, Direction, Name, QueueName, Connection, DataType, Cardinality, Schedule, Route string
		}
	}
	if err := readJSON(file, &content); err != nil {
		return function{}, err
	}
	f := function{name: filepath.Base(filepath.Dir(file))}
	if !functionName.MatchString(f.name) {
		return f, errors.New("it has no name that the host allows")
	}
	triggers, out := 0, 0
	for _, b := range content.Bindings {
		var err error
		switch {
		case b.Type == "serviceBusTrigger" && b.Direction == "in":
			triggers++
			f.kind, f.binding = queueTrigger, b.Name
			if b.DataType != "binary" || b.Cardinality != "one" {
				return f, fmt.Errorf("dataType %q and cardinality %q, not binary and one", b.DataType, b.Cardinality)
			}
			if b.Connection == "" || settings[b.Connection] == "" && settings[b.Connection+"__fullyQualifiedNamespace"] == "" {
				return f, fmt.Errorf("the settings of connection %q are missing", b.Connection)
			}
			f.queue, err = resolve(b.QueueName, settings)
			if err == nil && f.queue == "" {
				err = errors.New("it has no queue")
			}
		case b.Type == "timerTrigger" && b.Direction == "in":
			triggers++
			f.kind, f.binding = timerTrigger, b.Name
			var schedule string
			if schedule, err = resolve(b.Schedule, settings); err == nil && len(strings.Fields(schedule)) != 6 {
				err = fmt.Errorf("schedule %q has not six fields", schedule)
			}
		case b.Type == "httpTrigger" && b.Direction == "in":
			triggers++
			f.kind, f.binding = httpTrigger, b.Name
			if b.Route != "{*path}" {
				err = fmt.Errorf("route %q is not modelled", b.Route)
			}
		case b.Type == "http" && b.Direction == "out":
			out++
		default:
			err = fmt.Errorf("binding %s, direction %q, is not known", b.Type, b.Direction)
		}
		if err != nil {
			return f, err
		}
		if b.Name == "" {
			return f, errors.New("a binding has no name")
		}
	}
	if triggers != 1 {
		return f, fmt.Errorf("it has %d triggers", triggers)
	}
	if (f.kind == httpTrigger) != (out == 1) {
		return f, errors.New("an HTTP function needs its output, and only it")
	}
	return f, nil
}

var setting = regexp.MustCompile(`%([^%]+)%`)

// resolve replaces %X% by the setting X.
func resolve(text string, settings map[string]string) (string, error) {
	var missing error
	text = setting.ReplaceAllStringFunc(text, func(name string) string {
		value := settings[strings.Trim(name, "%")]
		if value == "" {
			missing = fmt.Errorf("setting %s is missing", name)
		}
		return value
	})
	return text, missing
}

func readJSON(file string, into any) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	return nil
}

// duration is one of .NET: hours, minutes and seconds.
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	var h, m, s int
	if _, err := fmt.Sscanf(string(text), "%d:%d:%d", &h, &m, &s); err != nil {
		return fmt.Errorf("%q is no time of hh:mm:ss: %w", text, err)
	}
	*d = duration(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second)
	return nil
}
