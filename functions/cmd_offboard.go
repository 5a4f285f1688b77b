package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/rollout"
	"pinreset/shared/tenant"
)

func (p *process) tenantOffboard() *cobra.Command {
	var reason, export string
	var leave bool
	c := p.verb("offboard TENANT", "Stop looking after a tenant: export, then erase everything kept of it", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, args[0])
		if err != nil {
			return err
		}
		t, err := s.Tenant(ctx, s.tenant)
		if err != nil {
			return err
		}
		stands, err := p.standing(ctx, s, leave)
		if err != nil {
			return err
		}
		switch {
		case stands.ID != "":
			p.note("false is written first to the policy %s of rollout %s; it stays assigned, so that devices which are off take it later", stands.PolicyName, stands.ID)
			p.note("nothing else is written to the devices of %s: codes that were set on them stay in force", t.DisplayName)
		case leave:
			p.note("nothing is written to the devices of %s: a policy that was rolled out stays on, and codes that were set stay in force", t.DisplayName)
		default:
			p.note("nothing is written to the devices of %s: codes that were set on them stay in force", t.DisplayName)
		}
		if t.Kind != tenant.OnPremises {
			p.note("consent that was given stays until an administrator of the tenant takes it back in Entra ID")
		}
		if err := p.confirm(ctx, "Erasing everything that is kept of "+t.DisplayName, t.DisplayName); err != nil {
			return err
		}
		if export == "" {
			export = "offboard-" + t.ID + ".jsonl"
		}
		if _, err := os.Lstat(export); stands.ID != "" && err != nil {
			if err := p.falseFirst(ctx, s, stands, reason); err != nil {
				return err
			}
		}
		if err := s.export(ctx, t, export); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return &failure{text: fmt.Sprintf("%s exists; an export is never written over", export), next: []string{"the same command with --export FILE"}}
			}
			return fmt.Errorf("export %s; nothing was erased: %w", t.ID, err)
		}
		p.note("%s holds the audit log, the resets without codes, the failures and the settings", export)
		done, err := s.Offboard(ctx, t.ID, client.Offboarding{Confirm: t.ID, LeavePolicy: leave, Reason: reason})
		if err != nil {
			return err
		}
		if done.Rollout != "" && done.State != "erased" {
			return &failure{text: "Nothing was erased: rollout " + done.Rollout + " is taken back first, and false is being written to its policy", exit: exitPending,
				next: []string{p.hint("policy status %s", done.Rollout), "the same command with another --export FILE"}}
		}
		if done.Unended > 0 {
			p.note("Graph could not be asked to end %d subscriptions to change notifications; they end by themselves within a month", done.Unended)
		}
		return printOne(p, columns("rows", "messages", "keys", "tokens", "subscriptions", "left"), done, nil)
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	c.Flags().StringVar(&export, "export", "", "file for what was kept, as JSON lines (default offboard-TENANT.jsonl)")
	c.Flags().BoolVar(&leave, "leave-policy", false, "do not write false to the policy of a rollout that stands; it stays on")
	require(c, "reason")
	c.ValidArgsFunction = p.completeTenantArgument
	return c
}

// standing finds the rollout whose policy would stay on. A token that may not read rollouts learns of it from the server.
func (p *process) standing(ctx context.Context, s scope, leave bool) (client.Rollout, error) {
	if leave {
		return client.Rollout{}, nil
	}
	for r, err := range s.Rollouts(ctx, s.tenant) {
		if client.IsCode(err, fault.Forbidden) {
			return client.Rollout{}, nil
		}
		if err != nil {
			return client.Rollout{}, err
		}
		if r.Placed && r.State != rollout.RolledBack {
			return r, nil
		}
		if r.Placed {
			break // the latest one is what stands
		}
	}
	return client.Rollout{}, nil
}

// falseFirst takes the rollout back as far as false is written and read back. It is done before the export, which then tells of it.
func (p *process) falseFirst(ctx context.Context, s scope, r client.Rollout, reason string) error {
	if r.State != rollout.Withdrawing {
		var err error
		if r, err = s.StartRollback(ctx, s.tenant, r.ID, client.NewRollback{Reason: reason}); err != nil {
			return err
		}
	}
	last := r
	soon := watch{on: true, timeout: offboardTime}
	err := soon.run(ctx, p, func(ctx context.Context, line *progress) error {
		_, err := s.WaitRollout(ctx, s.tenant, r.ID, func(seen client.Rollout) bool { return !writing(seen) }, func(seen client.Rollout) {
			last = seen
			line.show(rolloutLine(seen))
		})
		return err
	})
	switch {
	case errors.Is(err, errStillPending):
		return &failure{text: "False is not written to the policy yet; nothing was erased", exit: exitPending,
			next: []string{p.hint("policy status %s", r.ID), "the same command again, or with --leave-policy"}}
	case err != nil:
		return err
	case last.State == rollout.Failed:
		return p.rolloutEnd(s, last)
	}
	p.note("the policy says false, and so do devices from their next contact on")
	return nil
}

// offboardTime is how long a person waits for false to be written.
const offboardTime = 2 * time.Minute

// export writes what is kept of the tenant to a file of mode 0600 that is there whole or not at all.
func (s scope) export(ctx context.Context, t client.Tenant, file string) error {
	if _, err := os.Lstat(file); err == nil {
		return fs.ErrExist
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".offboard-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	lines := json.NewEncoder(f)
	err = errors.Join(
		exported("tenant", func(yield func(client.Tenant, error) bool) { yield(t, nil) }, lines),
		exported("audit", s.Audit(ctx, t.ID, client.AuditFilter{}), lines),
		exported("reset", s.Resets(ctx, t.ID, ""), lines),
		exported("failure", s.Failures(ctx, t.ID), lines),
	)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), file) // not Rename, which would replace
}

// exported writes a line for each item of the list, under the kind's name.
func exported[T any](kind string, list iter.Seq2[T, error], lines *json.Encoder) error {
	for item, err := range list {
		if err == nil {
			err = lines.Encode(map[string]any{kind: item})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
