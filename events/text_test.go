package events_test

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"pinreset/events"
)

// TestTextAgreesForEveryCharacter holds the patterns of the schemas and the rule in Go together, character by character.
func TestTextAgreesForEveryCharacter(t *testing.T) {
	t.Parallel()
	c := jsonschema.NewCompiler()
	raw, _ := events.Schema("passcode.reset.requested.v1")
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("urn:s", doc); err != nil {
		t.Fatal(err)
	}
	required, optional := c.MustCompile("urn:s#/properties/reason"), c.MustCompile("urn:s#/properties/ticket")
	_, parsed := example(t, "passcode.reset.requested.v1")
	good := parsed.Data.(events.PasscodeResetRequested)
	refused, blank := 0, 0
	for r := range rune(0xe1000) {
		switch {
		case r >= 0x3400 && r < 0xd7a4, r >= 0xd800 && r < 0xf900, r >= 0x10000 && r < 0xe0000:
			continue // ideographs, surrogates, private and other planes: nothing special among them
		}
		e := good
		e.Ticket = "a" + string(r)
		inGo, inSchema := e.Validate() == nil, optional.Validate(e.Ticket) == nil
		if inGo != inSchema {
			t.Errorf("%U: Validate accepts it %v, the schema %v", r, inGo, inSchema)
		}
		if !inGo {
			refused++
		}
		e.Ticket, e.Reason = "", string(r)+string(r)
		alone, inSchema := e.Validate() == nil, required.Validate(e.Reason) == nil
		if alone != inSchema {
			t.Errorf("%U alone: Validate accepts it %v, the schema %v", r, alone, inSchema)
		}
		if inGo && !alone {
			blank++
		}
	}
	if refused < 65+5+7+128 || blank < 10 {
		t.Errorf("%d characters are refused and %d are blanks: too few", refused, blank)
	}
}
