package sqlitework

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// connection is one SQLite connection. It speaks the driver's own interface: the pool, the argument conversion and the
// locking of database/sql cost about as much as a statement itself does, and the writer owns its connection anyway.
// A connection and its statements belong to one goroutine at a time.
type connection struct {
	conn driver.Conn
	open []driver.Stmt
}

// statement is a prepared statement. Its arguments are int64, string or []byte.
type statement struct {
	name string // names the statement in errors
	exec driver.StmtExecContext
	rows driver.StmtQueryContext
	args []driver.NamedValue
}

func (c *connection) prepare(ctx context.Context, name, text string) (*statement, error) {
	prepared, err := c.conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", name, err)
	}
	c.open = append(c.open, prepared)
	exec, executes := prepared.(driver.StmtExecContext)
	rows, queries := prepared.(driver.StmtQueryContext)
	if !executes || !queries {
		return nil, fmt.Errorf("prepare %s: the driver's statements take no context", name)
	}
	return &statement{name: name, exec: exec, rows: rows}, nil
}

// preparing returns a function that prepares statements one after the other; the first error stays in err.
func (c *connection) preparing(ctx context.Context, err *error) func(name, text string) *statement {
	return func(name, text string) *statement {
		if *err != nil {
			return nil
		}
		var s *statement
		s, *err = c.prepare(ctx, name, text)
		return s
	}
}

// script runs statements that take no arguments and return nothing of interest.
func (c *connection) script(ctx context.Context, text string) error {
	_, err := c.conn.(driver.ExecerContext).ExecContext(ctx, text, nil)
	return err
}

// pragma returns the first value that the pragma answers.
func (c *connection) pragma(ctx context.Context, text string) (driver.Value, error) {
	s, err := c.prepare(ctx, text, "PRAGMA "+text)
	if err != nil {
		return nil, err
	}
	var value driver.Value
	err = s.query(ctx, func(columns []driver.Value) error { value = columns[0]; return nil })
	return value, err
}

func (c *connection) close() error {
	var errs []error
	for _, s := range c.open {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.conn.Close())...)
}

// run executes the statement and returns the number of rows it changed.
func (s *statement) run(ctx context.Context, args ...driver.Value) (int64, error) {
	result, err := s.exec.ExecContext(ctx, s.bind(args))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	return result.RowsAffected()
}

// query executes the statement and gives each row to row, which must not keep the slice and returns io.EOF when it has
// seen enough.
func (s *statement) query(ctx context.Context, row func([]driver.Value) error, args ...driver.Value) (err error) {
	rows, err := s.rows.QueryContext(ctx, s.bind(args))
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	defer func() {
		if e := rows.Close(); e != nil && err == nil {
			err = fmt.Errorf("%s: %w", s.name, e)
		}
	}()
	columns := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(columns); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", s.name, err)
		}
		switch err := row(columns); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (s *statement) bind(args []driver.Value) []driver.NamedValue {
	s.args = s.args[:0]
	for i, v := range args {
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return s.args
}
