package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

// AuditRecords reads Intune's audit log from the moment on, page by page, as the caller consumes it: the resource auditEvent,
// each as it came, because its activities are not published and members may be added. The order is not documented. An error is
// the last element. The permission is DeviceManagementApps.Read.All (page "List auditEvents").
func (c *Client) AuditRecords(ctx context.Context, tenant string, since time.Time) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		if err := checkIDs("tenant", tenant); err != nil {
			yield(nil, err)
			return
		}
		target := "/deviceManagement/auditEvents" + query("$filter", "activityDateTime ge "+since.UTC().Format(time.RFC3339))
		for record, err := range pages[json.RawMessage](ctx, c.general, tenant, get(target)) {
			if err != nil {
				yield(nil, fmt.Errorf("list audit events: %w", err))
				return
			}
			if !yield(record, nil) {
				return
			}
		}
	}
}
