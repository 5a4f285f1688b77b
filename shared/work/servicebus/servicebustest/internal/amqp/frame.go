package amqp

import (
	"fmt"
	"io"
)

// Types of frame.
const (
	FrameAMQP = 0
	FrameSASL = 1
)

// Protocol identifiers of the headers with which either side begins.
const (
	ProtocolAMQP = 0
	ProtocolSASL = 3
)

const (
	frameHeader = 8

	// MinFrameSize is the size of frame that every peer must accept.
	MinFrameSize = 512
)

// ProtocolHeader returns the eight bytes that open a connection or its SASL layer, for version 1.0.0.
func ProtocolHeader(protocol byte) []byte { return []byte{'A', 'M', 'Q', 'P', protocol, 1, 0, 0} }

// ReadProtocolHeader reads the eight bytes with which a peer begins and returns its protocol identifier.
func ReadProtocolHeader(r io.Reader) (protocol byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, fmt.Errorf("read protocol header: %w", err)
	}
	if string(h[:4]) != "AMQP" || h[5] != 1 || h[6] != 0 || h[7] != 0 {
		return 0, fmt.Errorf("%w: protocol header %x", ErrMalformed, h)
	}
	return h[4], nil
}

// Frame is what travels on a connection. One without a body only says that its sender is alive.
type Frame struct {
	Type    byte
	Channel uint16
	Body    []byte
}

// ReadFrame reads one frame of at most limit bytes. The body is the caller's.
func ReadFrame(r io.Reader, limit uint32) (Frame, error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, fmt.Errorf("read frame header: %w", err)
	}
	size, offset := order.Uint32(h[:4]), 4*uint32(h[4])
	switch {
	case size > limit:
		return Frame{}, fmt.Errorf("%w: a frame of %d bytes, %d allowed", ErrMalformed, size, limit)
	case offset < frameHeader || offset > size:
		return Frame{}, fmt.Errorf("%w: a frame of %d bytes whose body begins at %d", ErrMalformed, size, offset)
	}
	b := make([]byte, size-frameHeader)
	if _, err := io.ReadFull(r, b); err != nil {
		return Frame{}, fmt.Errorf("read frame: %w", err)
	}
	return Frame{Type: h[5], Channel: order.Uint16(h[6:]), Body: b[offset-frameHeader:]}, nil
}

// AppendFrame appends a frame to b whose body is the performative (none for a sign of life) and what follows it.
func AppendFrame(b []byte, kind byte, channel uint16, p Performative, payload []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 2, kind, byte(channel>>8), byte(channel))
	if p != nil {
		b = AppendPerformative(b, p)
	}
	b = append(b, payload...)
	order.PutUint32(b[start:], uint32(len(b)-start))
	return b
}
