package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/webhook"
)

func (p *process) deviceKeyCommand() *cobra.Command {
	list := p.verb("list DEVICE", "List the keys of a device, without the keys themselves", func(ctx context.Context, args []string) error {
		s, d, err := p.deviceOf(ctx, args[0])
		if err != nil {
			return err
		}
		return printList(p, columns("id", "scheme", "CREATED=createdAt", "REVOKED=revokedAt", "LAST REPORT=lastReport", "callback"), s.DeviceKeys(ctx, s.tenant, d.ID), "no key")
	})
	list.ValidArgsFunction = p.completeDevices
	var reason string
	revoke := p.verb("revoke DEVICE KEY", "End a key, with effect on the device's next report", func(ctx context.Context, args []string) error {
		s, d, err := p.deviceOf(ctx, args[0])
		if err != nil {
			return err
		}
		if _, err := s.RevokeDeviceKey(ctx, s.tenant, d.ID, args[1], reason); err != nil {
			return err
		}
		p.note("the key is revoked")
		return nil
	})
	revoke.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	revoke.ValidArgsFunction = p.completeDevices
	return p.noun("key", "Keys with which devices sign their reports: add, list, revoke", p.deviceKeyAdd(), list, revoke)
}

// deviceOf finds the device that a key is for. On premises there is no register of devices: there an id stands for itself.
func (p *process) deviceOf(ctx context.Context, ref string) (scope, client.Device, error) {
	s, err := p.in(ctx, "")
	if err != nil {
		return s, client.Device{}, err
	}
	d, err := s.device(ctx, p, ref)
	if client.IsCode(err, fault.TenantOnPremises) {
		// No Intune gives names there: a device is the id that its first key was made for.
		if !events.IsGUID(ref) {
			return s, d, &failure{text: fmt.Sprintf("On premises a device is named by an id, and %q is none", ref), code: fault.TenantOnPremises,
				next: []string{"take the objectGUID of the computer in Active Directory: (Get-ADComputer NAME).ObjectGUID"}}
		}
		return s, client.Device{ID: strings.ToLower(ref), Name: strings.ToLower(ref)}, nil
	}
	return s, d, err
}

// keyFile is what a device needs to report: the file that `device key add --save` writes and `device report` reads.
type keyFile struct {
	Server   string `json:"server"`
	Callback string `json:"callback"`
	Key      string `json:"key"`
}

// newDeviceKey is what `device key add` prints.
type newDeviceKey struct {
	ID       string `json:"id"`
	Device   string `json:"device"`
	Scheme   string `json:"scheme"`
	Callback string `json:"callback"`
	Key      string `json:"key,omitempty"`  // unless it was saved, or the device has it
	File     string `json:"file,omitempty"` // where it was saved
}

func (p *process) deviceKeyAdd() *cobra.Command {
	var n client.NewDeviceKey
	var save string
	c := p.verb("add DEVICE", "Make a key for one device; it is shown this once", func(ctx context.Context, args []string) error {
		s, d, err := p.deviceOf(ctx, args[0])
		if err != nil {
			return err
		}
		// The file comes first: a key that can't be kept must not be made.
		keep, err := newSecretFile(save)
		if err != nil {
			return err
		}
		k, err := s.CreateDeviceKey(ctx, s.tenant, d.ID, n)
		if err != nil {
			return errors.Join(err, keep.discard())
		}
		shown := newDeviceKey{ID: k.ID, Device: d.Name, Scheme: k.Scheme, Callback: s.Link(k.Callback), File: save, Key: k.Secret.Clear()}
		switch {
		case k.Secret.Clear() == "" && n.PublicKey == "": // the first answer was lost, and only it had the key
			return errors.Join(&failure{
				text: "The key was made, but it was lost on the way and is stored nowhere", code: fault.Unavailable,
				next: []string{p.hint("device key revoke %s %s", d.ID, k.ID), "the same command again"},
			}, keep.discard())
		case save != "":
			text, err := json.MarshalIndent(keyFile{Server: s.Server(), Callback: k.Callback, Key: k.Secret.Clear()}, "", "  ")
			if err != nil {
				return fmt.Errorf("encode key file: %w", err)
			}
			if err := keep.write(string(text)); err != nil {
				return err
			}
			shown.Key = ""
			p.note("next, on the device: pinreset device report --key-file %s", quoted(save))
		}
		return printOne(p, columns("id", "device", "scheme", "callback", "key", "file"), shown, nil)
	})
	f := c.Flags()
	f.StringVar(&n.Kind, "kind", "ed25519", "ed25519 or hmac")
	f.StringVar(&n.PublicKey, "public-key", "", "public half of a pair that the device made itself (whpk_…)")
	f.StringVar(&n.Reason, "reason", "", "why, for the audit log")
	f.StringVar(&save, "save", "", "new file for the device to report with, instead of printing the key")
	c.MarkFlagsMutuallyExclusive("public-key", "save")
	c.ValidArgsFunction = p.completeDevices
	complete(c, "kind", fixed("ed25519", "hmac"))
	return c
}

// readKeyFile returns what a device reports with.
func readKeyFile(path string) (keyFile, webhook.Signer, error) {
	refuse := func(format string, args ...any) (keyFile, webhook.Signer, error) {
		return keyFile{}, webhook.Signer{}, &failure{text: fmt.Sprintf(format, args...), next: []string{"pinreset device key add DEVICE --save FILE, where the server is administered"}}
	}
	f, err := os.Open(path)
	if err != nil {
		return refuse("The key file can't be read: %v", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return refuse("The key file can't be read: %v", err)
	}
	var k keyFile
	if json.Unmarshal(text, &k) != nil || k.Server == "" || !strings.HasPrefix(k.Callback, "/callbacks/devices/") {
		return refuse("The file %s is not a key file of a device", path)
	}
	signer, err := webhook.ParseSigner(k.Key)
	if err != nil {
		return refuse("The file %s does not hold a key that signs", path)
	}
	return k, signer, nil
}
