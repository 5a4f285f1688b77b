package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// binary is the program as it is built for people.
var binary string

func TestMain(m *testing.M) {
	exit, err := withBinary(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		exit = 1
	}
	os.Exit(exit)
}

func withBinary(run func() int) (exit int, err error) {
	dir, err := os.MkdirTemp("", "pinreset-test-")
	if err != nil {
		return 0, fmt.Errorf("make directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary = filepath.Join(dir, "pinreset")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build: %w\n%s", err, out)
	}
	return run(), nil
}

// runBinary runs the binary in an empty directory against the server, without a terminal.
func runBinary(t *testing.T, environment []string, stdin io.Reader, args ...string) ended {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary, args...)
	c.Dir = t.TempDir()
	c.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environment...)
	c.Stdin = stdin
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatalf("run %v: %v", args, err)
	}
	return ended{c.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (f *fakeAPI) environment() []string {
	return []string{envServer + "=" + f.server.URL, envTokenFile + "=" + f.token}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.refuses("POST tenants", refusal{422, "idempotency_key_reused", "The key was used before.", ""})
	f.refuses("POST events", refusal{422, "idempotency_key_reused", "The event's id was used before.", ""})
	f.refuses("PATCH /settings", refusal{422, "invalid_request", "passcodeHours must be 1 to 168.", ""})
	f.refuses("POST /resets/r1/cancel", refusal{409, "state_conflict", "The reset has ended: it is issued.", ""})

	closed, err := net.Listen("tcp", "127.0.0.1:0") // a port where nobody listens
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	silent := httptest.NewServer(nil)
	t.Cleanup(silent.Close)

	for _, c := range []struct {
		args  string
		stdin string
		exit  int
		says  string // on stderr
	}{
		{"version", "", 0, ""},
		{"--help", "", 0, ""},
		{"tenant list", "", 0, ""},
		{"event schema tenant.added.v1", "", 0, ""},

		{"devcie", "", 1, `did you mean "device"?`},
		{"device delete", "", 1, "is not a command of"},
		{"device show", "", 1, "needs DEVICE"},
		{"device show a b", "", 1, "takes 1 argument"},
		{"device list --nope", "", 1, "unknown flag"},
		{"device list -o xml", "", 1, "must be one of table, json, jsonl, tsv"},
		{"device list --fields nme", "", 1, `there is no field "nme"; there are `},
		{"device reset x", "", 1, "--reason is needed"},
		{"device reset sales-pixel-12 --reason x", "", 1, "nobody to ask here"},
		{"device reset sales-pixel-12 --reason x --yes --watch --timeout -1s", "", 1, "--timeout"},
		{"device show nobody", "", 1, "device_not_found"},
		{"device show 00000000-0000-4000-8000-000000000000", "", 1, "not_found"},
		{"device list --tenant Nobody", "", 1, "not_found"},
		{"device list --tenant " + fabrikamID, "", 1, "not_found"},
		{"tenant add not-a-guid --name x", "", 1, "is not a GUID"},
		{"tenant add " + contosoID + " --name x", "", 1, "idempotency_key_reused"},
		{"tenant settings --passcode-hours 9000", "", 1, "invalid_request"},
		{"tenant settings --passcode-hours many", "", 1, "invalid argument"},
		{"passcode show ../../x", "", 1, "not_found"},
		{"passcode show ..", "", 1, "not_found"},
		{"passcode cancel r1 --reason x --yes", "", 1, "state_conflict"},
		{"passcode show r1 --reveal --reason x", "", 1, "must be a terminal"},
		{"passcode show r1 --reveal --reason x --yes", "", 1, "must be a terminal"},
		{"deadletter drop l1 --reason x", "", 1, "nobody to ask here"},
		{"event send -", "{}", 1, "idempotency_key_reused"},
		{"event send -", "", 1, "the event is empty"},
		{"event send missing.json", "", 1, "no such file"},
		{"event schema nothing.v1", "", 1, "not_found"},
		{"up --listen nope", "", 1, "must be host:port"},
		{"tenant list --server ftp://x", "", 1, "is not an http or https address"},
		{"tenant list --server http://192.0.2.1", "", 1, "must be https"},
		{"tenant list --server " + nobody, "", 1, "No answer from " + nobody},
		{"tenant list --server " + silent.URL, "", 1, "is not pinreset's"},

		{"tenant list --token-file missing", "", 4, "There is no token file missing"},
		{"tenant list --token-file .", "", 4, "can't be read"},
		{"device reset sales-pixel-12 --reason x --yes", "", 8, "pending: "},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			got := runBinary(t, f.environment(), strings.NewReader(c.stdin), strings.Fields(c.args)...)
			if got.exit != c.exit || !strings.Contains(got.err, c.says) {
				t.Errorf("exit %d, want %d with %q\n%s", got.exit, c.exit, c.says, got.err)
			}
			if failed := got.exit == exitError || got.exit == exitSignIn; failed && (got.out != "" || !strings.HasPrefix(got.err, "error: ") && !strings.Contains(got.err, "\nerror: ") || !strings.Contains(got.err, "\nnext: ")) {
				t.Errorf("stdout %q\nstderr %s\nwant an error with a next step on stderr alone", got.out, got.err)
			}
			if strings.Contains(got.out+got.err, goodToken) || strings.Contains(got.out+got.err, canary) {
				t.Errorf("a secret is shown:\n%s%s", got.out, got.err)
			}
		})
	}
}

func TestTokenIsOnlyTakenFromAFile(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	got := runBinary(t, []string{envServer + "=" + f.server.URL, "PINRESET_TOKEN=" + goodToken}, nil, "tenant", "list")
	got.has(t, exitSignIn, "There is no token file "+filepath.Join(".pinreset", "data", "admin-token"))

	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "admin-token"), []byte(goodToken), 0o600); err != nil {
		t.Fatal(err)
	}
	runBinary(t, []string{envServer + "=" + f.server.URL, envData + "=" + data}, nil, "tenant", "list").has(t, exitDone, "Contoso")
}
