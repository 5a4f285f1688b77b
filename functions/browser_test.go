package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pinreset/functions/web/portal"
	"pinreset/shared/client"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/nodetest"
	"pinreset/shared/tenant"
)

var (
	//go:embed testdata/browser/package.json
	browserManifest []byte
	//go:embed testdata/browser/package-lock.json
	browserLock []byte
)

var readmePictures = flag.String("readme-pictures", "", "a folder to put the README's pictures of the portal into")

// asScript is a text that wants to be a script. A browser would show a dialogue.
const asScript = `"><script>alert(1)</script><img src=x onerror=alert(2)>`

// chromium finds a browser, "" where there is none.
func chromium() string {
	for _, name := range []string{os.Getenv("CHROME_BIN"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	return ""
}

// TestBrowser goes through the portal of the program that people run, in a real browser: from the sign-in to a code with the keyboard
// alone, every page under axe-core in light and dark and at two widths, the core path without scripts, and what a thief, a forger or a
// framing page gets. Pictures of the pages are in dist/pictures afterwards.
func TestBrowser(t *testing.T) {
	t.Parallel()
	executable := chromium()
	if executable == "" {
		t.Skip("no browser here: install Debian's package chromium, or name one in CHROME_BIN")
	}
	dir, err := nodetest.Install(t.Context(), "browser", browserManifest, browserLock)
	if errors.Is(err, nodetest.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	poison(t, filepath.Join(home, "data", "work"))
	r := startBinary(t, home)
	c := r.client()
	waitProven(t, c)
	r.furnish(c)

	pictures, err := filepath.Abs(filepath.Join("..", "dist", "pictures"))
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs(filepath.Join("testdata", "browser", "browser.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	var routes []string // of all pages that a link leads to
	for _, pattern := range portal.AllRoutes() {
		if path, ok := strings.CutPrefix(pattern, "GET "); ok {
			routes = append(routes, path)
		}
	}
	given, err := json.Marshal(map[string]any{
		"dir": dir, "executable": executable, "link": r.link, "url": r.url, "tenant": graphsim.Contoso, "device": "sales-pixel-12", "other": "store-kiosk-07", "routes": routes, "pictures": pictures, "readme": *readmePictures,
	})
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "node", script, string(given))
	var said, errs bytes.Buffer
	command.Stdout, command.Stderr = &said, &errs
	if err := command.Run(); err != nil {
		t.Fatalf("%v: %s", err, &errs)
	}
	checks := 0
	for d := json.NewDecoder(&said); d.More(); checks++ {
		var c struct {
			Check, Detail string
			OK            bool
		}
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		if !c.OK {
			t.Errorf("%s: %s", c.Check, c.Detail)
		}
		t.Logf("%s: %t %s", c.Check, c.OK, c.Detail)
	}
	if least := 21; checks < least {
		t.Errorf("%d checks, want at least %d", checks, least)
	}
}

// furnish makes the sample tenant have one of everything that a page shows.
func (r *running) furnish(c *client.Client) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	a, err := c.StartAudit(ctx, graphsim.Contoso, "to look at")
	if err == nil {
		_, err = c.WaitAudit(ctx, graphsim.Contoso, a.ID)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := c.StartBulk(ctx, graphsim.Contoso, client.NewBulk{All: true, PlanOnly: true}); err != nil {
		r.t.Fatal(err)
	}
	if _, _, err := c.StartRollout(ctx, graphsim.Contoso, client.NewRollout{Target: client.Target{AllDevices: true}, Reason: "to look at"}); err != nil {
		r.t.Fatal(err)
	}
	for _, second := range []string{string(tenant.SecondForEvery), string(tenant.NoSecondPerson)} {
		if _, err := c.ChangeSettings(ctx, graphsim.Contoso, client.SettingsChange{SecondPerson: &second}); err != nil {
			r.t.Fatal(err)
		}
		if second == string(tenant.NoSecondPerson) {
			break
		}
		for d, err := range c.Devices(ctx, graphsim.Contoso, "field-pixel-offline") {
			if err == nil {
				_, _, err = c.StartReset(ctx, graphsim.Contoso, d.ID, asScript, "INC-2") // which waits for somebody to approve it
			}
			if err != nil {
				r.t.Fatal(err)
			}
		}
	}
	if _, err := c.GiveGrant(ctx, graphsim.Contoso, client.NewGrant{
		PersonTenant: graphsim.Fabrikam, PersonObject: "5c1e0000-0000-4000-8000-000000000001", Name: asScript, Permissions: []string{"tenant.read"}, Days: 1, Reason: asScript,
	}); err != nil {
		r.t.Fatal(err)
	}
	for d, err := range c.Devices(ctx, graphsim.Contoso, "hr-laptop-11") {
		if err != nil {
			r.t.Fatal(err)
		}
		failing, _, err := c.StartReset(ctx, graphsim.Contoso, d.ID, asScript, "INC-1")
		if err == nil {
			_, err = c.WaitReset(ctx, graphsim.Contoso, failing.ID, nil)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}
