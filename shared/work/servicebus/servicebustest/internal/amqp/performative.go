package amqp

import "fmt"

// Performative is the order that a frame carries.
type Performative interface {
	code() uint64
	fields() List
}

// Descriptors of performatives.
const (
	codeOpen           = 0x10
	codeBegin          = 0x11
	codeAttach         = 0x12
	codeFlow           = 0x13
	codeTransfer       = 0x14
	codeDisposition    = 0x15
	codeDetach         = 0x16
	codeEnd            = 0x17
	codeClose          = 0x18
	codeSASLMechanisms = 0x40
	codeSASLInit       = 0x41
	codeSASLOutcome    = 0x44
)

// Roles of a link's end, and settle modes.
const (
	RoleSender   = false
	RoleReceiver = true

	SenderSettled = 1 // snd-settle-mode: every delivery is settled when it is sent
	SenderMixed   = 2
)

type (
	// Open begins a connection.
	Open struct {
		ContainerID  string
		MaxFrameSize uint32
		ChannelMax   uint16
		IdleTimeout  uint32 // milliseconds; 0 asks for no signs of life
	}

	// Begin begins a session.
	Begin struct {
		RemoteChannel  *uint16 // in an answer: the channel of the peer's begin
		NextOutgoingID uint32
		IncomingWindow uint32
		OutgoingWindow uint32
		HandleMax      uint32
	}

	// Attach attaches a link's end to a session. Source and Target are kept as they came, so that an answer can echo them;
	// both are nil in one that refuses.
	Attach struct {
		Name                 string
		Handle               uint32
		Role                 bool
		SenderSettleMode     any // ubyte or nil
		ReceiverSettleMode   any
		Source, Target       any
		InitialDeliveryCount *uint32 // a sender's
		MaxMessageSize       uint64  // 0: none given
		Properties           Map
	}

	// Flow tells the state of a session and, with a handle, of a link.
	Flow struct {
		NextIncomingID any // uint or nil
		IncomingWindow uint32
		NextOutgoingID uint32
		OutgoingWindow uint32
		Handle         *uint32
		DeliveryCount  uint32
		LinkCredit     uint32
		Drain, Echo    bool
	}

	// Transfer carries a delivery or a part of one; the payload follows it.
	Transfer struct {
		Handle        uint32
		DeliveryID    *uint32 // in the first part
		DeliveryTag   []byte  // in the first part
		MessageFormat uint32  // in the first part
		Settled       bool
		More          bool
		Aborted       bool
	}

	// Disposition tells the state of a range of deliveries.
	Disposition struct {
		Role        bool // of the end that sends it
		First, Last uint32
		Settled     bool
		State       any
	}

	// Detach ends a link, for good when it is closed.
	Detach struct {
		Handle uint32
		Closed bool
		Error  *Error
	}

	// End ends a session.
	End struct{ Error *Error }

	// Close ends a connection.
	Close struct{ Error *Error }

	// SASLMechanisms offers ways to sign in.
	SASLMechanisms struct{ Mechanisms []Symbol }

	// SASLInit chooses one.
	SASLInit struct{ Mechanism Symbol }

	// SASLOutcome welcomes with code 0 and refuses with 1.
	SASLOutcome struct{ Code uint8 }
)

func (Open) code() uint64           { return codeOpen }
func (Begin) code() uint64          { return codeBegin }
func (Attach) code() uint64         { return codeAttach }
func (Flow) code() uint64           { return codeFlow }
func (Transfer) code() uint64       { return codeTransfer }
func (Disposition) code() uint64    { return codeDisposition }
func (Detach) code() uint64         { return codeDetach }
func (End) code() uint64            { return codeEnd }
func (Close) code() uint64          { return codeClose }
func (SASLMechanisms) code() uint64 { return codeSASLMechanisms }
func (SASLInit) code() uint64       { return codeSASLInit }
func (SASLOutcome) code() uint64    { return codeSASLOutcome }

func (p Open) fields() List {
	l := List{p.ContainerID, nil, p.MaxFrameSize, p.ChannelMax}
	if p.IdleTimeout > 0 {
		l = append(l, p.IdleTimeout)
	}
	return l
}

func (p Begin) fields() List {
	return List{orNull(p.RemoteChannel), p.NextOutgoingID, p.IncomingWindow, p.OutgoingWindow, p.HandleMax}
}

func (p Attach) fields() List {
	l := List{p.Name, p.Handle, p.Role, p.SenderSettleMode, p.ReceiverSettleMode, p.Source, p.Target, nil, nil,
		orNull(p.InitialDeliveryCount), nil, nil, nil, nil}
	if p.MaxMessageSize > 0 {
		l[10] = p.MaxMessageSize
	}
	if p.Properties != nil {
		l[13] = p.Properties
	}
	return l
}

func (p Flow) fields() List {
	l := List{p.NextIncomingID, p.IncomingWindow, p.NextOutgoingID, p.OutgoingWindow, nil, nil, nil, nil, p.Drain, p.Echo}
	if p.Handle != nil {
		l[4], l[5], l[6] = *p.Handle, p.DeliveryCount, p.LinkCredit
	}
	return l
}

func (p Transfer) fields() List {
	l := List{p.Handle, nil, nil, nil, p.Settled, p.More}
	if p.DeliveryID != nil {
		l[1], l[2], l[3] = *p.DeliveryID, p.DeliveryTag, p.MessageFormat
	}
	if p.Aborted {
		l = append(l, nil, nil, nil, true)
	}
	return l
}

func (p Disposition) fields() List { return List{p.Role, p.First, p.Last, p.Settled, p.State} }
func (p Detach) fields() List      { return List{p.Handle, p.Closed, p.Error.value()} }
func (p End) fields() List         { return List{p.Error.value()} }
func (p Close) fields() List       { return List{p.Error.value()} }

func (p SASLMechanisms) fields() List { return List{p.Mechanisms} }
func (p SASLInit) fields() List       { return List{p.Mechanism} }
func (p SASLOutcome) fields() List    { return List{p.Code} }

func orNull[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// AppendPerformative appends p, encoded, to b.
func AppendPerformative(b []byte, p Performative) []byte {
	return Append(b, Described{p.code(), p.fields()})
}

// DecodePerformative decodes the performative at the head of a frame's body and returns what follows it.
func DecodePerformative(b []byte) (p Performative, payload []byte, err error) {
	v, payload, err := Decode(b)
	if err != nil {
		return nil, nil, err
	}
	code, f := open(v)
	switch code {
	case codeOpen:
		p = Open{ContainerID: need[string](f, 0), MaxFrameSize: get[uint32](f, 2, 1<<32-1), ChannelMax: get[uint16](f, 3, 1<<16-1),
			IdleTimeout: get[uint32](f, 4, 0)}
	case codeBegin:
		p = Begin{RemoteChannel: maybe[uint16](f, 0), NextOutgoingID: need[uint32](f, 1), IncomingWindow: need[uint32](f, 2),
			OutgoingWindow: need[uint32](f, 3), HandleMax: get[uint32](f, 4, 1<<32-1)}
	case codeAttach:
		p = Attach{Name: need[string](f, 0), Handle: need[uint32](f, 1), Role: need[bool](f, 2),
			SenderSettleMode: orNull(maybe[uint8](f, 3)), ReceiverSettleMode: orNull(maybe[uint8](f, 4)),
			Source: f.at(5), Target: f.at(6), InitialDeliveryCount: maybe[uint32](f, 9), MaxMessageSize: get[uint64](f, 10, 0),
			Properties: get[Map](f, 13, nil)}
	case codeFlow:
		p = Flow{NextIncomingID: orNull(maybe[uint32](f, 0)), IncomingWindow: need[uint32](f, 1), NextOutgoingID: need[uint32](f, 2),
			OutgoingWindow: need[uint32](f, 3), Handle: maybe[uint32](f, 4), DeliveryCount: get[uint32](f, 5, 0),
			LinkCredit: get[uint32](f, 6, 0), Drain: get(f, 8, false), Echo: get(f, 9, false)}
	case codeTransfer:
		p = Transfer{Handle: need[uint32](f, 0), DeliveryID: maybe[uint32](f, 1), DeliveryTag: get[[]byte](f, 2, nil),
			MessageFormat: get[uint32](f, 3, 0), Settled: get(f, 4, false), More: get(f, 5, false), Aborted: get(f, 9, false)}
	case codeDisposition:
		first := need[uint32](f, 1)
		p = Disposition{Role: need[bool](f, 0), First: first, Last: get(f, 2, first), Settled: get(f, 3, false), State: f.at(4)}
	case codeDetach:
		p = Detach{Handle: need[uint32](f, 0), Closed: get(f, 1, false), Error: errorOf(f.at(2))}
	case codeEnd:
		p = End{Error: errorOf(f.at(0))}
	case codeClose:
		p = Close{Error: errorOf(f.at(0))}
	case codeSASLMechanisms:
		p = SASLMechanisms{Mechanisms: get[[]Symbol](f, 0, nil)}
	case codeSASLInit:
		p = SASLInit{Mechanism: need[Symbol](f, 0)}
	case codeSASLOutcome:
		p = SASLOutcome{Code: need[uint8](f, 0)}
	default:
		return nil, nil, fmt.Errorf("%w: no performative has the descriptor %#x", ErrMalformed, code)
	}
	if f.err != nil {
		return nil, nil, fmt.Errorf("performative %#x: %w", code, f.err)
	}
	return p, payload, nil
}
