package fault_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pinreset/shared/fault"
)

var errCause = errors.New("cause")

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err       error
		known     bool
		code      fault.Code
		permanent bool
		delay     time.Duration
		text      string
	}{
		"permanent":            {fault.Permanent(fault.DeviceNotFound, errCause), true, fault.DeviceNotFound, true, 0, "device_not_found: cause"},
		"permanent, no cause":  {fault.Permanent(fault.DeviceNotFound, nil), true, fault.DeviceNotFound, true, 0, "device_not_found"},
		"permanent, formatted": {fault.Permanentf(fault.GraphRefused, "status %d: %w", 400, errCause), true, fault.GraphRefused, true, 0, "graph_refused: status 400: cause"},
		"after":                {fault.After(time.Minute, fault.GraphThrottled, errCause), true, fault.GraphThrottled, false, time.Minute, "graph_throttled: cause"},
		"after nothing":        {fault.After(0, fault.GraphThrottled, errCause), true, fault.GraphThrottled, false, time.Millisecond, "graph_throttled: cause"},
		"after a past time":    {fault.After(-time.Hour, fault.GraphThrottled, errCause), true, fault.GraphThrottled, false, time.Millisecond, "graph_throttled: cause"},
		"wrapped":              {fmt.Errorf("read: %w", fault.Permanent(fault.NotFound, errCause)), true, fault.NotFound, true, 0, "read: not_found: cause"},
		"joined":               {errors.Join(errors.New("first"), fault.Permanent(fault.NotFound, errCause)), true, fault.NotFound, true, 0, "first\nnot_found: cause"},
		"the outer one counts": {fault.Permanent(fault.ConsentTimedOut, fault.After(time.Minute, fault.WaitingForConsent, errCause)), true, fault.ConsentTimedOut, true, 0, "consent_timed_out: waiting_for_consent: cause"},
		"plain":                {errCause, false, fault.Internal, false, 0, "cause"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, known := fault.As(c.err)
			if known != c.known || fault.CodeOf(c.err) != c.code || c.err.Error() != c.text {
				t.Fatalf("known %t, code %s, text %q", known, fault.CodeOf(c.err), c.err)
			}
			if known && (v.Permanent() != c.permanent || v.Delay != c.delay || v.Code != c.code) {
				t.Errorf("verdict %+v", v)
			}
			if name != "permanent, no cause" && !errors.Is(c.err, errCause) {
				t.Error("the cause is lost")
			}
		})
	}
	if _, known := fault.As(nil); known {
		t.Error("nil has a verdict")
	}
}
