package amqp

import (
	"bytes"
	"errors"
	"testing"
)

// What a decoder takes it must be able to say again, in a way that means the same. (Encodings differ, as a map has no
// order and a number several forms, so the second encoding's decoding is encoded once more and lengths are compared.)

func FuzzFrame(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			frame, err := ReadFrame(r, 4096)
			if err != nil {
				return
			}
			if len(frame.Body) > 4096-frameHeader {
				t.Fatalf("a body of %d bytes", len(frame.Body))
			}
		}
	})
}

func FuzzPerformative(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		p, payload, err := DecodePerformative(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || p != nil {
				t.Fatalf("%+v, error %v", p, err)
			}
			return
		}
		again := append(AppendPerformative(nil, p), payload...)
		q, rest, err := DecodePerformative(again)
		if err != nil || !bytes.Equal(rest, payload) {
			t.Fatalf("%+v is encoded as %x, which is %+v, %v", p, again, q, err)
		}
		if third := AppendPerformative(nil, q); len(third)+len(payload) != len(again) {
			t.Fatalf("%x, then %x", again, third)
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || m != nil {
				t.Fatalf("%+v, error %v", m, err)
			}
			return
		}
		again := m.Append(nil)
		second, err := DecodeMessage(again)
		if err != nil {
			t.Fatalf("%x is encoded as %x, which is no message: %v", b, again, err)
		}
		if third := second.Append(nil); len(third) != len(again) {
			t.Fatalf("%x, then %x", again, third)
		}
		if len(m.Data) != len(second.Data) || m.Header != second.Header {
			t.Fatalf("%+v, then %+v", m, second)
		}
	})
}
