package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/work/outbox"
)

// tokenFirst makes the administrator's token where no process has a data directory that lasts, as under the Functions host. It asks no
// server, because nobody has a token for one yet: who may write to the tables may do this.
func (p *process) tokenFirst() *cobra.Command {
	var save string
	var c *cobra.Command
	c = p.verb("first", "Make the administrator's token of a new deployment on Azure's services", func(ctx context.Context, _ []string) error {
		s, err := p.settings(c, func(*config) map[string]*string { return nil })
		if err != nil {
			return err
		}
		if save == "" {
			return &mistake{"--save needs the name of a new file"}
		}
		if !s.sharedStores() {
			return &mistake{"this is for rows in Azure's services; \"pinreset up\" with a data directory makes the token by itself"}
		}
		tokens, closeAll, err := openTokens(ctx, s)
		if err != nil {
			return err
		}
		defer closeAll()
		keep, err := newSecretFile(save)
		if err != nil {
			return err
		}
		kept := false
		token, err := tokens.FirstAdmin(ctx, func(text string) error {
			kept = true
			return keep.write(text)
		})
		switch {
		case errors.Is(err, identity.ErrHasAdministrator):
			return errors.Join(&failure{
				text: "There is an administrator already, so no token was made",
				next: []string{"pinreset token add, with the administrator's token"},
			}, keep.remove())
		case err != nil && !kept:
			return errors.Join(err, keep.discard())
		case err != nil: // it may have been stored all the same, so what was kept stays
			p.note("the token in %s may open something: try it before you delete the file", save)
			return err
		}
		return printOne(p, columns("id", "name", "file"), newToken{ID: token.ID, Name: token.Name, File: save}, nil)
	})
	c.Long = "Make the administrator's token of a new deployment on Azure's services, with the settings of the\n" +
		"deployment and your own sign-in (PINRESET_CREDENTIAL=developer). It is refused as long as there\nis an administrator, and it is in the audit log."
	c.Flags().StringVar(&save, "save", "", "new file to keep the token in")
	require(c, "save")
	return c
}

// openTokens opens the tokens in Azure's tables. No message is sent, so Service Bus is not asked.
func openTokens(ctx context.Context, c config) (_ *identity.Tokens, closeAll func(), err error) {
	t := cloud{}
	if !c.simulated() {
		if t, err = realCloud(c); err != nil {
			return nil, nil, err
		}
	}
	_, source, err := t.signedIn(time.Now, nil)
	if err != nil {
		return nil, nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	s, err := findServices(c, source, time.Now, logger)
	if err != nil {
		return nil, nil, err
	}
	closeAll = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
		defer cancel()
		_ = s.bus.Close(ctx) // it was not used
	}
	check := s.rows.Check
	if c.TablesConnectionFile != "" {
		check = s.rows.Create // an emulator's
	}
	asked, cancel := context.WithTimeout(ctx, graph.DefaultTimeout)
	defer cancel()
	if err := check(asked); err != nil {
		closeAll()
		return nil, nil, err
	}
	newID := newIDs()
	return identity.NewTokens(outbox.New(s.rows, s.bus, outbox.Options{NewID: newID, Logger: logger}), time.Now, newID), closeAll, nil
}
