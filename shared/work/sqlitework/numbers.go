package sqlitework

import (
	"context"
	"database/sql/driver"
)

// numbers counts row versions and leases. No number is given out twice in the life of a data directory, crashes included:
// the database always holds a bound that the counter has not reached, and raises it a block at a time, because a row more in
// every transaction would cost every transaction.
type numbers struct {
	last     int64
	reserved int64 // numbers up to this one may be given out by a committed transaction
}

const numberBlock = 1 << 20

// load starts behind everything that an earlier process may have given out.
func (n *numbers) load(ctx context.Context, sql *statements) error {
	return sql.reserved.query(ctx, func(columns []driver.Value) error {
		n.last, _ = columns[0].(int64)
		return nil
	})
}

func (n *numbers) take() int64 {
	n.last++
	return n.last
}

// reserve raises the bound, in the transaction that gave out numbers above it.
func (n *numbers) reserve(g *group) error {
	if n.last < n.reserved {
		return nil
	}
	bound := n.last + numberBlock
	if _, err := g.sql.reserve.run(g.ctx, bound); err != nil {
		return err
	}
	n.reserved = bound
	return nil
}
