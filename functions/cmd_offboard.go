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

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/rollout"
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
		if err := p.standing(ctx, s, leave); err != nil {
			return err
		}
		p.note("nothing is written to the devices of %s: codes that were set on them stay in force", t.DisplayName)
		p.note("consent that was given stays until an administrator of the tenant takes it back in Entra ID")
		if err := p.confirm(ctx, "Erasing everything that is kept of "+t.DisplayName, t.DisplayName); err != nil {
			return err
		}
		if export == "" {
			export = "offboard-" + t.ID + ".jsonl"
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
		return printOne(p, columns("rows", "messages", "keys", "tokens", "left"), done, nil)
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	c.Flags().StringVar(&export, "export", "", "file for what was kept, as JSON lines (default offboard-TENANT.jsonl)")
	c.Flags().BoolVar(&leave, "leave-policy", false, "offboard although a rollout stands; its policy stays on")
	require(c, "reason")
	c.ValidArgsFunction = p.completeTenantArgument
	return c
}

// standing says before anything is exported what the server would refuse for: a rollout that stands. A token that may not read
// rollouts learns it from the server.
func (p *process) standing(ctx context.Context, s scope, leave bool) error {
	if leave {
		return nil
	}
	for r, err := range s.Rollouts(ctx, s.tenant) {
		if client.IsCode(err, fault.Forbidden) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.Placed && r.State != rollout.RolledBack {
			return &failure{
				text: "A rollout of this tenant stands, and with it the policy on its devices", code: fault.StateConflict,
				next: []string{
					p.hint("policy rollback %s --delete --reason TEXT --watch", r.ID), "the same command with --leave-policy leaves the policy on",
				},
			}
		}
		if r.Placed {
			return nil // the latest one is what stands
		}
	}
	return nil
}

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
		exported("audit", s.Audit(ctx, t.ID), lines),
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
