package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/tenant"
)

// Verdicts of the doctor.
const (
	fine   = "ok"
	warned = "warn" // works, or could not be looked at
	broken = "fail" // does not work, or is not safe
)

// finding is one line of what the doctor says.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"` // one of the verdicts
	Found string `json:"found"`
	Fix   string `json:"fix,omitempty"`
}

func (p *process) doctorCommand() *cobra.Command {
	var data string
	c := p.verb("doctor", "Check the configuration, the data, the clock and what Microsoft allows", func(ctx context.Context, _ []string) error {
		settings, err := loadConfig(p.getenv)
		if data != "" {
			settings.Data = data
		}
		x := &examination{config: settings, now: p.now}
		x.configured(err)
		x.directory(ctx)
		x.cloud(ctx, func(ctx context.Context) ([]string, error) { return p.doctored(ctx) })
		x.notifications(ctx, p.doctored, p.ways)
		err = printList(p, columns("CHECK=check", "STATE=state", "FOUND=found", "WHAT TO DO=fix"), func(yield func(finding, error) bool) {
			for _, f := range x.findings {
				if !yield(f, nil) {
					return
				}
			}
		}, "nothing was checked")
		if err != nil {
			return err
		}
		var failed []string
		for _, f := range x.findings {
			if f.State == broken {
				failed = append(failed, f.Check)
			}
		}
		if len(failed) == 0 {
			return nil
		}
		return &failure{text: fmt.Sprintf("%s: %s", count(len(failed), "check")+" failed", strings.Join(failed, ", ")), next: []string{"what the table says, then the same command"}}
	})
	c.Long = "Check the configuration, the data directory, the clock and what Microsoft allows.\n\n" +
		"It runs on the server's machine with the server's settings, whether or not the server runs, and changes nothing.\n" +
		"Permissions are checked in the tenant of --tenant, or in those that the running server looks after."
	c.Flags().StringVar(&data, "data", "", "data directory (default "+defaultData+")")
	return c
}

// ways returns by which ways a tenant's notifications go.
func (p *process) ways(ctx context.Context, id string) (client.NotificationSettings, error) {
	c, err := p.api()
	if err != nil {
		return client.NotificationSettings{}, err
	}
	return c.NotificationSettings(ctx, id)
}

// maxDoctored is how many tenants are looked at; who has more names one.
const maxDoctored = 20

// doctored returns the ids of the tenants to look at.
func (p *process) doctored(ctx context.Context) ([]string, error) {
	if ref := p.value(p.tenant, envTenant, ""); events.IsGUID(ref) {
		return []string{strings.ToLower(ref)}, nil
	} else if ref != "" {
		s, err := p.in(ctx, ref)
		return []string{s.tenant}, err
	}
	c, err := p.api()
	if err != nil {
		return nil, err
	}
	var ids []string
	for t, err := range c.Tenants(ctx) {
		if err != nil {
			return nil, err
		}
		if t.Kind == tenant.OnPremises {
			continue // Microsoft knows nothing of it
		}
		if ids = append(ids, t.ID); len(ids) == maxDoctored {
			break
		}
	}
	return slices.Compact(ids), nil
}
