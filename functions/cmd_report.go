package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/devicereport"
)

// errNotWindows: there is nothing to collect on this machine.
var errNotWindows = errors.New("only a Windows device can be asked about itself")

// sentReport is what `device report` prints.
type sentReport struct {
	ID       string `json:"id"`
	Sequence int64  `json:"sequence"`
	Bytes    int    `json:"bytes"`
}

const reportHelp = `Collects what this Windows device knows about PIN reset, signs it with the device's own key and
sends it. Run it as the user, not elevated: dsregcmd tells of the user's PIN to the user alone.

What is read: dsregcmd /status; the policy values of Windows Hello for Business, web sign-in and
the lock screen in the registry; numbers and times of events of PIN reset, not their content. The
text of dsregcmd names the device, the tenant and the account that ran it. --print shows all of
it and sends nothing.

With --file, a report that somebody else's agent has collected is signed and sent; with
--dsregcmd, the text that "dsregcmd /status" printed. Both work on every system.`

func (p *process) deviceReport() *cobra.Command {
	var keyFile, file, status, failed string
	var show bool
	c := p.verb("report", "Report what this device knows about PIN reset", func(ctx context.Context, _ []string) error {
		r, err := p.gather(ctx, file, status)
		if err != nil {
			return err
		}
		if failed != "" {
			r.Resets = append(r.Resets, devicereport.PINReset{At: p.now().UTC(), Outcome: devicereport.Failed, Code: failed})
		}
		body, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode report: %w", err)
		}
		if _, err := devicereport.Parse(body); err != nil {
			return &failure{text: fmt.Sprintf("The report is not one that the server takes: %v", err), next: []string{"pinreset device report --print"}}
		}
		if show {
			return encode(p.stdout, r, "  ")
		}
		if keyFile == "" {
			return &mistake{"--key-file is needed to sign the report; --print shows it without sending"}
		}
		return p.sendReport(ctx, keyFile, r, body)
	})
	c.Long = reportHelp
	f := c.Flags()
	f.StringVar(&keyFile, "key-file", "", "`file` that \"device key add --save\" made for this device")
	f.StringVar(&file, "file", "", "report to send, collected by another agent (JSON), - for standard input")
	f.StringVar(&status, "dsregcmd", "", "file with the text of dsregcmd /status, - for standard input")
	f.StringVar(&failed, "pin-failed", "", "a PIN reset has just failed with this code or message")
	f.BoolVar(&show, "print", false, "print what would be sent, and send nothing")
	c.MarkFlagsMutuallyExclusive("file", "dsregcmd")
	return c
}

// gather makes the report, of a file or of this device. A sequence or a time that it lacks is now.
func (p *process) gather(ctx context.Context, file, status string) (r devicereport.Report, err error) {
	switch {
	case file != "":
		text, err := p.readFile(file)
		if err != nil {
			return r, err
		}
		if err := json.Unmarshal(text, &r); err != nil {
			return r, &failure{text: fmt.Sprintf("%s is not a report in JSON: %v", file, err), next: []string{"pinreset device report --print shows one, on a Windows device"}}
		}
	case status != "":
		text, err := p.readFile(status)
		if err != nil {
			return r, err
		}
		r.Status = devicereport.Text(text)
		if len(devicereport.ParseStatus(r.Status).Fields) == 0 {
			return r, &failure{text: status + " is not the text of dsregcmd /status: not one line says a name and a value", next: []string{"dsregcmd /status > FILE, on the device, as its user"}}
		}
	default:
		if r, err = collect(ctx); errors.Is(err, errNotWindows) {
			return r, &failure{text: "Only a Windows device can be asked about itself", next: []string{"pinreset device report --file REPORT.json", "pinreset device report --dsregcmd FILE"}}
		} else if err != nil {
			return r, err
		}
	}
	if r.Version == 0 {
		r.Version = devicereport.Version
	}
	if r.Sequence == 0 {
		r.Sequence = p.now().UnixMilli() // greater than ever, as long as the clock is not set back
	}
	if r.CollectedAt.IsZero() {
		r.CollectedAt = p.now().UTC()
	}
	if r.Agent == "" {
		r.Agent = "pinreset " + version()
	}
	return r, nil
}

// readFile reads a file, or standard input where its name is "-", as far as a report may be long in UTF-16.
func (p *process) readFile(name string) ([]byte, error) {
	in := p.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, &failure{text: fmt.Sprintf("The file can't be read: %v", err), next: []string{"the same command with another file"}}
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 4*devicereport.MaxBytes))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

func (p *process) sendReport(ctx context.Context, path string, r devicereport.Report, body []byte) error {
	k, signer, err := readKeyFile(path)
	if err != nil {
		return err
	}
	o := client.Options{Server: p.value(p.server, envServer, k.Server), Sleep: p.sleep}
	if p.verbose {
		o.Observe = p.observe
	}
	c, err := client.New(o)
	if err != nil {
		return &mistake{err.Error()}
	}
	id, err := c.SendReport(ctx, k.Callback, signer, "msg_"+rand.Text(), p.now(), body)
	if err != nil {
		return err
	}
	p.note("the report is taken; readiness and diagnostics follow from it")
	return printOne(p, columns("id", "sequence", "bytes"), sentReport{ID: id, Sequence: r.Sequence, Bytes: len(body)}, nil)
}

// collectLimit is how long a command of Windows may take.
const collectLimit = 30 * time.Second
