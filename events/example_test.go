package events_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
)

func ExampleParse() {
	raw := []byte(`{
		"specversion": "1.0", "id": "01M814PQ8R0000000000000000", "time": "2026-11-22T08:14:03Z",
		"source": "/tenants/8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f", "type": "dev.pinreset.passcode.reset.requested.v1",
		"data": {"requestId": "r-1", "deviceId": "sales-pixel-12", "reason": "User forgot the passcode"}
	}`)
	_, err := events.Parse(raw)
	if wrong, ok := errors.AsType[*events.FieldError](err); ok {
		fmt.Println(wrong.Field, "→", wrong.Problem)
	}
	// Output: data.deviceId → must be a GUID in lower case
}

func ExampleEvent_MarshalJSON() {
	e := events.Event{
		ID:     "01M814PQ8R0000000000000000",
		Tenant: "8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f",
		Time:   time.Date(2026, 11, 22, 8, 14, 3, 0, time.UTC),
		Data:   events.ConsentCheckDue{RequestID: "r-1"},
	}
	out, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(out))
	// Output:
	// {
	//   "specversion": "1.0",
	//   "id": "01M814PQ8R0000000000000000",
	//   "type": "dev.pinreset.tenant.consent.checkdue.v1",
	//   "source": "/tenants/8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f",
	//   "time": "2026-11-22T08:14:03Z",
	//   "datacontenttype": "application/json",
	//   "dataschema": "urn:pinreset:schema:tenant.consent.checkdue.v1",
	//   "data": {
	//     "requestId": "r-1"
	//   }
	// }
}
