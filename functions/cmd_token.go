package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
)

func (p *process) tokenCommand() *cobra.Command {
	list := p.verb("list", "List tokens, without the tokens themselves", func(ctx context.Context, _ []string) error {
		c, err := p.api()
		if err != nil {
			return err
		}
		return printList(p, columns("id", "name", "tenants", "permissions", "EXPIRES=expiresAt", "REVOKED=revokedAt"), c.Tokens(ctx), "no token")
	})
	revoke := p.verb("revoke ID", "End a token, with effect on the next request", func(ctx context.Context, args []string) error {
		c, err := p.api()
		if err != nil {
			return err
		}
		if err := c.RevokeToken(ctx, args[0]); err != nil {
			return err
		}
		p.note("the token is revoked")
		return nil
	})
	return p.noun("token", "Tokens: add, list, revoke, and the first one", p.tokenAdd(), list, revoke, p.tokenFirst())
}

// newToken is what `token add` prints.
type newToken struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Token string `json:"token,omitempty"` // the token itself, unless it was saved to a file
	File  string `json:"file,omitempty"`
}

func (p *process) tokenAdd() *cobra.Command {
	var n client.NewToken
	var scopes []string
	var save string
	c := p.verb("add", "Make a token; it is shown this once", func(ctx context.Context, _ []string) error {
		c, err := p.api()
		if err != nil {
			return err
		}
		n.Tenants = nil
		for _, ref := range scopes {
			if ref == "*" {
				n.Tenants = append(n.Tenants, ref)
				continue
			}
			s, err := p.in(ctx, ref)
			if err != nil {
				return err
			}
			n.Tenants = append(n.Tenants, s.tenant)
		}
		// The file comes first: a token that can't be kept must not be made.
		keep, err := newSecretFile(save)
		if err != nil {
			return err
		}
		t, err := c.CreateToken(ctx, n)
		if err != nil {
			return errors.Join(err, keep.discard())
		}
		if t.Secret.Clear() == "" { // the first answer was lost, and only it had the token
			return errors.Join(&failure{
				text: "The token was made, but it was lost on the way and is stored nowhere", code: fault.Unavailable,
				next: []string{"pinreset token revoke " + t.ID, "the same command again"},
			}, keep.discard())
		}
		shown := newToken{ID: t.ID, Name: n.Name, File: save}
		if save == "" {
			shown.Token = t.Secret.Clear()
		} else if err := keep.write(t.Secret.Clear()); err != nil {
			return err
		}
		return printOne(p, columns("id", "name", "token", "file"), shown, nil)
	})
	f := c.Flags()
	f.StringVar(&n.Name, "name", "", "who or what the token is for")
	f.StringArrayVar(&scopes, "for", nil, "tenant that it reaches, by id or display name, or * for all; may be repeated")
	f.StringSliceVar(&n.Permissions, "permission", nil, "what it allows; may be repeated")
	f.IntVar(&n.Days, "days", 90, "days until it expires")
	f.StringVar(&save, "save", "", "new file to keep the token in instead of printing it")
	require(c, "name", "for", "permission")
	complete(c, "permission", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, permission := range identity.Permissions() {
			names = append(names, string(permission))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	complete(c, "for", p.completeTenants)
	return c
}

// secretFile is a new file that only its owner can read. The zero value is none.
type secretFile struct{ f *os.File }

func newSecretFile(name string) (secretFile, error) {
	if name == "" {
		return secretFile{}, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return secretFile{}, &mistake{fmt.Sprintf("the file %s exists already", name)}
	}
	if err != nil {
		return secretFile{}, fmt.Errorf("make token file: %w", err)
	}
	return secretFile{f}, nil
}

func (s secretFile) write(secret string) error {
	_, err := s.f.WriteString(secret + "\n")
	if err := errors.Join(err, s.f.Sync(), s.f.Close()); err != nil {
		return fmt.Errorf("write token file: %w", err)
	}
	return nil
}

// remove takes away what was written.
func (s secretFile) remove() error {
	if s.f == nil {
		return nil
	}
	_ = s.f.Close() // closed already where something was written
	return os.Remove(s.f.Name())
}

func (s secretFile) discard() error {
	if s.f == nil {
		return nil
	}
	return errors.Join(s.f.Close(), os.Remove(s.f.Name()))
}
