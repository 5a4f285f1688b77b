package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"testing"

	"pinreset/shared/graph/graphsim"
	"pinreset/shared/nodetest"
)

// TestBrowserIsTold looks at resets in a real browser whose pages never look again by themselves: they reach their end by what the server
// tells, and after the server was killed and started again, too.
func TestBrowserIsTold(t *testing.T) {
	t.Parallel()
	executable := chromium()
	if executable == "" {
		t.Skip("no browser here: install Debian's package chromium, or name one in CHROME_BIN")
	}
	installed, err := nodetest.Install(t.Context(), "browser", browserManifest, browserLock)
	if errors.Is(err, nodetest.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, listen, cloud := t.TempDir(), freeAddress(t), startCloud(t)
	r := startBinaryAt(t, dir, listen, nil, "--sim-at", cloud.dir)
	waitProven(t, r.client())

	script, err := filepath.Abs(filepath.Join("testdata", "browser", "live.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	given, err := json.Marshal(map[string]any{
		"dir": installed, "executable": executable, "link": r.link, "url": r.url, "tenant": graphsim.Contoso,
		"devices": []string{"sales-pixel-12", "store-kiosk-07"},
	})
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "node", script, string(given))
	var errs bytes.Buffer
	command.Stderr = &errs
	answers, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	checks := 0
	for d := json.NewDecoder(said); ; {
		var c struct {
			Ask, Check, Detail string
			OK                 bool
		}
		if err := d.Decode(&c); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v: %s", err, &errs)
		}
		switch c.Ask {
		case "kill":
			if err := r.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = r.cmd.Wait() // it was killed, which is what Wait says
		case "start":
			r = startBinaryAt(t, dir, listen, nil, "--sim-at", cloud.dir)
		default:
			checks++
			t.Logf("%s: %t %s", c.Check, c.OK, c.Detail)
			if !c.OK {
				t.Errorf("%s: %s", c.Check, c.Detail)
			}
			continue
		}
		if _, err := answers.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := command.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &errs)
	}
	if want := 5; checks != want {
		t.Errorf("%d checks, want %d", checks, want)
	}
}
