package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"pinreset/shared/work/sqlitework"
)

func (p *process) backupCommand() *cobra.Command {
	var data string
	c := p.verb("backup FILE", "Write a backup of the data directory, also while the server runs", func(ctx context.Context, args []string) error {
		if err := p.localOnly(); err != nil {
			return err
		}
		dir := p.value(data, envData, defaultData)
		err := sqlitework.Backup(ctx, filepath.Join(dir, workDir), args[0])
		switch {
		case errors.Is(err, sqlitework.ErrNoStore):
			return &failure{text: fmt.Sprintf("there is no store in %s", dir), next: []string{"the same command with --data DIR"}}
		case errors.Is(err, fs.ErrExist):
			return &failure{text: fmt.Sprintf("%s exists; a backup is never written over", args[0]), next: []string{"the same command with another FILE"}}
		case err != nil:
			return err
		}
		p.note("%s is written; the keys of codes are not in it", args[0])
		return nil
	})
	c.Long = "Write a backup of the data directory, also while the server runs.\n\n" +
		"It needs the data directory itself, so it runs on the server's machine. The file holds everything but the keys:\n" +
		"no code can be read with it. Names of people and devices are in it, so it has mode 0600; keep it so."
	c.Flags().StringVar(&data, "data", "", "data directory (default "+defaultData+")")
	c.ValidArgsFunction = nil // a file
	return c
}

// localOnly refuses what is about the store of a data directory where the settings name Azure's services.
func (p *process) localOnly() error {
	for _, name := range []string{"PINRESET_TABLES_URL", "PINRESET_TABLES_CONNECTION_FILE"} {
		if p.getenv(name) != "" {
			return &failure{text: name + " is set: rows are in Azure's services, and this command is for the store of a data directory",
				next: []string{"copy the table " + rowsTable + " with a tool of the account, without the table " + keysTable, "for the store of a data directory, the same command without " + name}}
		}
	}
	return nil
}

func (p *process) restoreCommand() *cobra.Command {
	var data string
	c := p.verb("restore FILE", "Make a data directory from a backup", func(ctx context.Context, args []string) error {
		if err := p.localOnly(); err != nil {
			return err
		}
		r, err := restore(ctx, args[0], data, p.now)
		switch {
		case errors.Is(err, errNotEmpty):
			return &failure{text: err.Error(), next: []string{"the same command with a directory that is empty or does not exist"}}
		case errors.Is(err, sqlitework.ErrInUse):
			return &failure{text: err.Error(), next: []string{"stop the server, then the same command"}}
		case err != nil:
			return err
		}
		p.note("%s holds the backup; every token was revoked, and the next start writes a new %s", data, "admin-token")
		p.note("tenants that were offboarded after the backup was made are back: offboard them again")
		return printOne(p, columns("tenants", "EXPIRED CODES=expired", "READABLE CODES=readable", "CANCELLED RESETS=cancelled",
			"DISCARDED MESSAGES=discarded", "REVOKED TOKENS=revoked", "REVOKED DEVICE KEYS=devices"), r, nil)
	})
	c.Long = "Make a data directory from a backup, while no server runs there.\n\n" +
		"What happened after the backup is not known, so nothing is done on its word: codes whose key is gone read expired,\n" +
		"resets that had not ended are cancelled and no device is called for them, and every token and every key of a device is revoked.\n" +
		"Put the directory \"keys\" of the old data directory into the new one first to keep codes that have not expired."
	c.Flags().StringVar(&data, "data", "", "data directory to make")
	require(c, "data")
	c.ValidArgsFunction = nil
	return c
}
