package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// Secret is a passcode or a token in the clear. Printing, logging and encoding it give "[redacted]"; only Clear hands it out.
type Secret struct{ clear string }

const redacted = "[redacted]"

// Clear returns the secret, to be shown to the one person who asked for it.
func (s Secret) Clear() string { return s.clear }

// UnmarshalJSON decodes the secret straight into its wrapping.
func (s *Secret) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &s.clear) != nil {
		return errors.New("secret is not a string") // the decoder's own text would quote it
	}
	return nil
}

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
