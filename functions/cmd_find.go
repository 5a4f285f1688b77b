package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/fault"
)

// scope is a server's client with the tenant that the command works on.
type scope struct {
	*client.Client
	tenant string // id
}

// in returns the scope of the tenant named by ref, which is an id or an exact display name. With "" it is that of --tenant,
// of the environment, or the only tenant there is.
func (p *process) in(ctx context.Context, ref string) (scope, error) {
	c, err := p.api()
	if err != nil {
		return scope{}, err
	}
	if ref == "" {
		ref = p.value(p.tenant, envTenant, "")
	}
	if events.IsGUID(ref) {
		return scope{c, strings.ToLower(ref)}, nil
	}
	var found []client.Tenant
	for t, err := range c.Tenants(ctx) {
		if err != nil {
			return scope{}, err
		}
		if ref == "" || t.DisplayName == ref {
			found = append(found, t)
		}
		if len(found) > maxNamed {
			break
		}
	}
	switch {
	case len(found) == 1:
		return scope{c, found[0].ID}, nil
	case len(found) == 0 && ref == "":
		return scope{}, &failure{
			text: "This server looks after no tenant that your token may see", code: fault.TenantUnknown,
			next: []string{"pinreset tenant add TENANT-ID --name NAME"},
		}
	case len(found) == 0:
		return scope{}, &failure{
			text: fmt.Sprintf("No tenant has the id or the display name %q", ref), code: fault.NotFound,
			next: []string{"pinreset tenant list"},
		}
	case ref == "":
		return scope{}, &failure{text: "There are several tenants: name one with --tenant", next: []string{"pinreset tenant list"}}
	}
	f := &failure{text: fmt.Sprintf("Several tenants have the display name %q: name one by its id", ref)}
	for _, t := range found {
		f.next = append(f.next, "--tenant "+t.ID)
	}
	return scope{}, f
}

// maxNamed is how many rows of the same name are worth listing.
const maxNamed = 5

// device finds a device by its id or its exact name.
func (s scope) device(ctx context.Context, p *process, ref string) (client.Device, error) {
	if events.IsGUID(ref) {
		return s.Device(ctx, s.tenant, strings.ToLower(ref))
	}
	var found []client.Device
	for d, err := range s.Devices(ctx, s.tenant, ref) {
		if err != nil {
			return client.Device{}, err
		}
		if d.Name == ref { // the search also finds users and serial numbers
			found = append(found, d)
		}
		if len(found) > maxNamed {
			break
		}
	}
	switch len(found) {
	case 0:
		return client.Device{}, &failure{
			text: fmt.Sprintf("No device of this tenant has the id or the name %q", ref), code: fault.DeviceNotFound,
			next: []string{p.hint("device list")},
		}
	case 1:
		return s.Device(ctx, s.tenant, found[0].ID)
	}
	f := &failure{text: fmt.Sprintf("Several devices have the name %q: name one by its id", ref)}
	for _, d := range found {
		f.next = append(f.next, fmt.Sprintf("%s   (%s, serial %s)", d.ID, d.User, d.Serial))
	}
	return client.Device{}, f
}

// completionTime is how long a shell waits for names: a person has pressed Tab.
const completionTime = 2 * time.Second

type completer = func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective)

// complete sets where the values of a flag come from.
func complete(c *cobra.Command, flag string, from completer) {
	if err := c.RegisterFlagCompletionFunc(flag, from); err != nil {
		panic(err) // a flag that the command does not have is a mistake in its own file
	}
}

func fixed(values ...string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeTenants offers the tenants' display names. A shell shows no errors while a person types: there are just no names.
func (p *process) completeTenants(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, stop := context.WithTimeout(c.Context(), completionTime)
	defer stop()
	var names []string
	if api, err := p.api(); err == nil {
		for t, err := range api.Tenants(ctx) {
			if err != nil {
				break
			}
			names = append(names, cobra.CompletionWithDesc(t.DisplayName, t.ID))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeTenantArgument is completeTenants for a command with one argument.
func (p *process) completeTenantArgument(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.completeTenants(c, args, prefix)
}

// completeDevices offers the names of the tenant's devices.
func (p *process) completeDevices(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, stop := context.WithTimeout(c.Context(), completionTime)
	defer stop()
	var names []string
	if s, err := p.in(ctx, ""); err == nil {
		for d, err := range s.Devices(ctx, s.tenant, "") {
			if err != nil {
				break
			}
			names = append(names, cobra.CompletionWithDesc(d.Name, d.User))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
