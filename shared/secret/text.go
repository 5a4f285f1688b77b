package secret

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a secret in the clear, on its way from where it was made to where it is
// sealed, or from there to who may see it. Printing, formatting, logging and
// encoding it give "[redacted]". [Vault.Seal] takes it in, [Vault.Open] gives it back, and the one way out is [Text.Expose].
//
// The value is behind a function because fmt looks through unexported fields and, for a verb that does not fit, past the
// methods below: what it can reach then is an address.
type Text struct{ clear func() string }

// NewText wraps a clear value.
func NewText(clear string) Text { return Text{func() string { return clear }} }

// Empty reports whether there is nothing in it.
func (t Text) Empty() bool { return t.value() == "" }

// Expose returns the clear value. It is for the last step before the person who asked: the encoder of the API's answer and the
// page that shows a code. A check of the whole module refuses every other caller.
func (t Text) Expose() string { return t.value() }

func (t Text) value() string {
	if t.clear == nil {
		return ""
	}
	return t.clear()
}

// UnmarshalJSON lets the decoder of Graph's reply put the value straight into its wrapping, so that it exists nowhere else.
func (t *Text) UnmarshalJSON(data []byte) error {
	var s *string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("secret is not a string") // the decoder's own error would quote the value
	}
	*t = Text{}
	if s != nil {
		*t = NewText(*s)
	}
	return nil
}

func (Text) String() string               { return redacted }
func (Text) GoString() string             { return redacted }
func (Text) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redacted)) }
func (Text) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Text) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Text) GobEncode() ([]byte, error)   { return []byte(redacted), nil }
