package readiness

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"pinreset/shared/work"
)

// Devices returns the last report of each device of the unit's tenant that ever reported. It does not see what the unit has
// staged.
func Devices(ctx context.Context, u *work.Unit) iter.Seq2[DeviceReport, error] {
	return func(yield func(DeviceReport, error) bool) {
		for page := ""; ; {
			p, err := u.List(ctx, DevicePrefix, 500, page)
			if err != nil {
				yield(DeviceReport{}, fmt.Errorf("list device reports: %w", err))
				return
			}
			for _, row := range p.Rows {
				var r DeviceReport
				if err := json.Unmarshal(row.Value, &r); err != nil {
					yield(DeviceReport{}, fmt.Errorf("decode %s: %w", row.Row, err))
					return
				}
				if !yield(r, nil) {
					return
				}
			}
			if page = p.Next; page == "" {
				return
			}
		}
	}
}
