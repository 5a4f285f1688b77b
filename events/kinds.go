package events

import (
	"encoding/json"
	"reflect"
)

// kind is one row of the table of kinds.
type kind struct {
	decode  func(json.RawMessage) (Data, error) // of valid JSON; checks the shape, not yet the values
	request bool                                // may come from outside
}

// kinds is the table of all kinds: adding an event type is a struct in its subject's file and a line here.
var kinds = table(
	result[HousekeepingDue](),
	request[TenantAdded](),
	result[TenantSettingsChanged](),
	request[ConsentRequested](),
	result[ConsentReturned](),
	result[ConsentCheckDue](),
	result[ConsentCompleted](),
	request[PasscodeResetRequested](),
	result[PasscodeResetCheckDue](),
	result[PasscodeResetIssued](),
	result[PasscodeResetCancelled](),
	result[PasscodeExpiryDue](),
	result[PasscodeExpired](),
	result[PasscodeResetAdopted](),
	result[PasscodeResetCrossed](),
	result[BulkResetDue](),
	result[BulkResetEnded](),
	request[PortalActionRecorded](),
	result[PortalCatchUpDue](),
	request[PolicyRolloutRequested](),
	result[PolicyRolloutCheckDue](),
	request[PolicyRollbackRequested](),
	result[PolicyRolloutCompleted](),
	result[DeviceReported](),
	result[DevicePINReset](),
	result[NotificationDue](),
	request[TenantAuditRequested](),
	result[TenantAuditCompleted](),
	result[TenantDriftFound](),
	result[SubscriptionsDue](),
	result[FailureRaised](),
)

type row struct {
	name string
	kind
}

func request[D Data]() row {
	r := result[D]()
	r.request = true
	return r
}

func result[D Data]() row {
	var zero D
	want := shapeOf(reflect.TypeFor[D]())
	return row{zero.Kind(), kind{decode: func(raw json.RawMessage) (Data, error) {
		if err := want.check("data", raw); err != nil {
			return nil, err
		}
		var d D
		if err := json.Unmarshal(raw, &d); err != nil {
			return nil, &FieldError{"data", "could not be read"}
		}
		return d, nil
	}}}
}

func table(rows ...row) map[string]kind {
	t := make(map[string]kind, len(rows))
	for _, r := range rows {
		if _, twice := t[r.name]; twice {
			panic("events: kind " + r.name + " is in the table twice")
		}
		t[r.name] = r.kind
	}
	return t
}
