package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"pinreset/shared/nodetest"
)

//go:embed paint.mjs
var painter []byte

// paintCount is how many resets are looked for on the screen.
const paintCount = 60

// paint measures how soon a reset that was asked for is on the screen of somebody who looks at the list of resets, in a real browser. Where
// there is none, that is said instead.
func (b *bench) paint(ctx context.Context, p *process, c *cloud) error {
	figure := row{figure: "reset asked for → painted, p99", target: "≤ " + ms(updateWait)}
	executable := ""
	for _, name := range []string{os.Getenv("CHROME_BIN"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			executable = path
			break
		}
	}
	if executable == "" {
		b.table.add(row{figure: figure.figure, value: "not measured", note: "no browser here"})
		return nil
	}
	// The driver of the browser is the one that the tests use.
	var files [2][]byte
	for i, name := range []string{"package.json", "package-lock.json"} {
		var err error
		if files[i], err = os.ReadFile(filepath.Join("functions", "testdata", "browser", name)); err != nil {
			return err
		}
	}
	driver, err := nodetest.Install(ctx, "browser", files[0], files[1])
	if errors.Is(err, nodetest.ErrMissing) {
		b.table.add(row{figure: figure.figure, value: "not measured", note: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	targets, err := c.targets(fleetTenants*(paintCount+1), 20)
	if err != nil {
		return err
	}
	tenant, devices := c.Tenants[1].ID, []string{}
	for _, t := range targets {
		if t.tenant == tenant && len(devices) <= b.scaled(paintCount) {
			devices = append(devices, t.device)
		}
	}
	given, err := json.Marshal(map[string]any{"dir": driver, "executable": executable, "url": p.url, "token": p.token, "tenant": tenant, "devices": devices})
	if err != nil {
		return err
	}
	script := filepath.Join(b.dir, "paint.mjs")
	if err := os.WriteFile(script, painter, 0o600); err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "node", script)
	var said, errs bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(given), &said, &errs
	if err := command.Run(); err != nil {
		return fmt.Errorf("browser: %w: %s", err, &errs)
	}
	var took []float64
	if err := json.Unmarshal(said.Bytes(), &took); err != nil {
		return fmt.Errorf("browser said %q: %w", &said, err)
	}
	if len(took) != len(devices)-1 {
		return fmt.Errorf("%d of %d resets were painted", len(took), len(devices)-1)
	}
	var list []time.Duration
	for _, n := range took {
		list = append(list, time.Duration(n*float64(time.Millisecond)))
	}
	p99 := quantile(list, 0.99)
	figure.value, figure.missed = ms(p99), p99 > updateWait
	figure.note = fmt.Sprintf("%d resets, one after the other, in Chromium on this machine, nobody else looks on; from the request's sending, its commit included, to the task after the frame; median %s, worst %s",
		len(list), ms(quantile(list, 0.5)), ms(quantile(list, 1)))
	b.table.add(figure)
	return nil
}
