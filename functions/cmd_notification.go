package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/fault"
)

func (p *process) notificationCommand() *cobra.Command {
	list := p.verb("list", "List who was told of resets and of looks at codes, newest first", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		cols := columns("at", "what", "outcome", "DEVICE=deviceName", "channel", "to", "state", "why", "attempts", "NEXT=nextAt", "problem", "diagnostics")
		return printList(p, cols, s.Notifications(ctx, s.tenant), "nobody was told of anything: pinreset notification settings")
	})
	return p.noun("notification", "Who is told of resets and of looks at codes: list, settings, key", list, p.notificationSettings(), p.notificationKey())
}

var notificationColumns = columns("contact", "MAIL USER=mailUser", "MAIL CONTACT=mailContact", "WEBHOOK=webhook.host", "WEBHOOK ON=webhook.on", "WEBHOOK WHY=webhook.why",
	"TEAMS=teams.host", "TEAMS ON=teams.on", "TEAMS WHY=teams.why", "MAIL SERVER=mailServer")

// newWebhookKey is what is printed of a key that was made.
type newWebhookKey struct {
	Host string `json:"host"`
	Key  string `json:"key,omitempty"`  // unless it was saved
	File string `json:"file,omitempty"` // where it was saved
}

func (p *process) printWebhookKey(host string, key client.Secret, save string, keep secretFile) error {
	shown := newWebhookKey{Host: host, Key: key.Clear(), File: save}
	if save != "" {
		if err := keep.write(key.Clear()); err != nil {
			return err
		}
		shown.Key = ""
	}
	return printOne(p, columns("host", "key", "file"), shown, nil)
}

func (p *process) notificationSettings() *cobra.Command {
	var contact, webhook, teams, reason, save string
	var mailUser, mailContact, webhookOn, teamsOn bool
	var c *cobra.Command
	c = p.verb("settings", "Show who of a tenant is told, and how, or change what is named", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		var change client.NotificationChange
		for _, text := range []struct {
			flag string
			from *string
			to   **string
		}{{"contact", &contact, &change.Contact}, {"webhook", &webhook, &change.Webhook}, {"teams", &teams, &change.Teams}} {
			if c.Flags().Changed(text.flag) {
				*text.to = text.from
			}
		}
		for _, on := range []struct {
			flag string
			from *bool
			to   **bool
		}{{"mail-user", &mailUser, &change.MailUser}, {"mail-contact", &mailContact, &change.MailContact}, {"webhook-on", &webhookOn, &change.WebhookOn}, {"teams-on", &teamsOn, &change.TeamsOn}} {
			if c.Flags().Changed(on.flag) {
				*on.to = on.from
			}
		}
		switch {
		case change == client.NotificationChange{} && reason != "":
			return &mistake{"--reason needs a setting to change"}
		case save != "" && webhook == "":
			return &mistake{"--save-key needs --webhook"}
		case change == client.NotificationChange{}:
			all, err := s.NotificationSettings(ctx, s.tenant)
			if err != nil {
				return err
			}
			return printOne(p, notificationColumns, all, nil)
		}
		change.Reason = reason
		keep, err := newSecretFile(save)
		if err != nil {
			return err
		}
		all, err := s.ChangeNotifications(ctx, s.tenant, change)
		if err != nil {
			return errors.Join(err, keep.discard())
		}
		if (all.MailUser || all.MailContact) && !all.MailServer {
			p.note("this server is not set up to send mail: set PINRESET_SMTP and PINRESET_SMTP_FROM")
		}
		if all.WebhookKey.Clear() != "" {
			return p.printWebhookKey(all.Webhook.Host, all.WebhookKey, save, keep)
		}
		if save != "" {
			p.note("the webhook keeps the key that it has, so %s was not written; another key: pinreset notification key --save-key FILE", save)
		}
		return errors.Join(keep.discard(), printOne(p, notificationColumns, all.NotificationSettings, nil))
	})
	f := c.Flags()
	f.StringVar(&contact, "contact", "", "mail address of whom to ask, which every notification names; \"\" for none")
	f.BoolVar(&mailUser, "mail-user", false, "tell the device's user by mail")
	f.BoolVar(&mailContact, "mail-contact", false, "tell the contact by mail")
	f.StringVar(&webhook, "webhook", "", "https address of the tenant's program; the first one makes its key, which is shown this once; \"\" removes both")
	f.BoolVar(&webhookOn, "webhook-on", false, "turn the webhook off, or on again")
	f.StringVar(&teams, "teams", "", "https address of a workflow of Teams; \"\" removes it")
	f.BoolVar(&teamsOn, "teams-on", false, "turn Teams off, or on again")
	f.StringVar(&save, "save-key", "", "new file for the webhook's key, instead of printing it")
	f.StringVar(&reason, "reason", "", "why, for the audit log")
	return c
}

func (p *process) notificationKey() *cobra.Command {
	var reason, save string
	c := p.verb("key", "Make another key for the webhook, from the next attempt on; it is shown this once", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		keep, err := newSecretFile(save)
		if err != nil {
			return err
		}
		k, err := s.RotateWebhookKey(ctx, s.tenant, reason)
		if err != nil {
			return errors.Join(err, keep.discard())
		}
		if k.Key.Clear() == "" {
			return errors.Join(&failure{
				text: "The key was made, but it was lost on the way and is shown nowhere", code: fault.Unavailable, next: []string{"the same command again, which makes another one"},
			}, keep.discard())
		}
		return p.printWebhookKey(k.Host, k.Key, save, keep)
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	c.Flags().StringVar(&save, "save-key", "", "new file for the key, instead of printing it")
	return c
}
