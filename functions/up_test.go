package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
)

// running is a pinreset started from the built binary, as a user starts it.
type running struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string // of the API
	sim  string // of the simulator's pages
	link string // signs in
	data string
	errs *bytes.Buffer
}

var addresses = regexp.MustCompile(`Open +(http://[^/]+)(/sign-in\?code=\S+)[\s\S]*Simulator +(\S+)`)

// startBinary starts `pinreset up` on free ports and waits until it says that it is ready.
func startBinary(t *testing.T, dir string, more ...string) *running {
	t.Helper()
	return startBinaryAt(t, dir, "127.0.0.1:0", nil, append([]string{"--sim-listen", "127.0.0.1:0", "--sim-pages", "127.0.0.1:0"}, more...)...)
}

func startBinaryAt(t *testing.T, dir, listen string, environment []string, more ...string) *running {
	t.Helper()
	return startBinarySaying(t, addresses, dir, listen, environment, more...)
}

// startBinarySaying waits until it says what is found: its address, the rest of the link that signs in, and the simulator's.
func startBinarySaying(t *testing.T, what *regexp.Regexp, dir, listen string, environment []string, more ...string) *running {
	t.Helper()
	r := &running{t: t, data: filepath.Join(dir, "data"), errs: &bytes.Buffer{}}
	args := append([]string{"up", "--listen", listen, "--data", r.data}, more...)
	r.cmd = exec.Command(binary, args...)
	r.cmd.Env = append(append(os.Environ(), "PINRESET_DATA="), environment...)
	r.cmd.Stderr = r.errs
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	})
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if found := what.FindStringSubmatch(said.String()); found != nil {
			r.url, r.link, r.sim = found[1], found[1]+found[2], found[3]
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return r
		}
	}
	t.Fatalf("up said %q and on standard error %q", said.String(), r.errs)
	return nil
}

func (r *running) client() *client.Client {
	r.t.Helper()
	token, err := os.ReadFile(filepath.Join(r.data, "admin-token"))
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := client.New(client.Options{Server: r.url, Token: strings.TrimSpace(string(token))})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// waitProven waits until the sample tenant can be worked with.
func waitProven(t *testing.T, c *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if s, err := c.WaitConsent(ctx, graphsim.Contoso, "", nil); err != nil || s.State != "proven" {
		t.Fatalf("consent of the sample tenant is %s: %v", s.State, err)
	}
}

// TestUp starts the server as a user does, resets a passcode by the command line, stops it with an interrupt within three
// seconds, and finds everything again after the next start.
func TestUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := startBinary(t, dir)
	waitProven(t, r.client())
	cli := func(args ...string) (string, string, int) {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append(args, "--server", r.url, "--token-file", filepath.Join(r.data, "admin-token")), func(string) string { return "" }, strings.NewReader(""), &stdout, &stderr)
		return stdout.String(), stderr.String(), code
	}
	out, errs, code := cli("device", "reset", "sales-pixel-12", "--reason", "forgot it", "--watch", "--yes", "-o", "json")
	if code != 0 {
		t.Fatalf("device reset: exit %d, %s", code, errs)
	}
	var resets []client.Reset
	if err := json.Unmarshal([]byte(out), &resets); err != nil || len(resets) != 1 || resets[0].State != passcode.Issued {
		t.Fatalf("device reset said %s: %v", out, err)
	}
	reset := resets[0]
	if _, errs, code := cli("device", "reset", "hr-laptop-11", "--reason", "forgot it", "--watch", "--yes"); code != 1 || !strings.Contains(errs, "/diag/") {
		t.Errorf("reset of a Windows laptop: exit %d, %s", code, errs)
	}

	stopped := time.Now()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Fatalf("after an interrupt: %v, %s", err, r.errs)
	}
	if took := time.Since(stopped); took > 3*time.Second {
		t.Errorf("stopping took %s", took)
	}

	r = startBinary(t, dir)
	again, err := r.client().Reset(t.Context(), graphsim.Contoso, reset.ID)
	if err != nil || again.State != passcode.Issued || !again.Readable {
		t.Fatalf("after a restart: %s, readable %t, %v", again.State, again.Readable, err)
	}
	shown, err := r.client().Reveal(t.Context(), graphsim.Contoso, reset.ID, "read to the user", "")
	if err != nil || len(shown.Passcode.Clear()) != 8 {
		t.Errorf("reveal after a restart: %v", err)
	}
}

// TestRoomForThoseWhoWatch: the soft limit rises and falls with the streams, many at a time, and no stream is without its share.
func TestRoomForThoseWhoWatch(t *testing.T) {
	t.Parallel()
	limit, sets := int64(softMemory), 0
	watched := raised(func(n int64) int64 { limit, sets = n, sets+1; return 0 })
	for n := 1; n <= 2000; n++ {
		watched(n)
		if least := int64(softMemory + n*streamMemory); limit < least {
			t.Fatalf("%d with %d streams, want %d at least", limit, n, least)
		}
	}
	if sets > 32 {
		t.Errorf("set %d times", sets)
	}
	for n := 1999; n >= 0; n-- {
		watched(n)
	}
	if limit != softMemory {
		t.Errorf("%d with nobody there, want %d", limit, softMemory)
	}
}
