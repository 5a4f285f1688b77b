package amqp

import "fmt"

// Descriptors of a message's sections.
const (
	sectionHeader              = 0x70
	sectionDeliveryAnnotations = 0x71
	sectionMessageAnnotations  = 0x72
	sectionProperties          = 0x73
	sectionApplication         = 0x74
	sectionData                = 0x75
	sectionSequence            = 0x76
	sectionValue               = 0x77
	sectionFooter              = 0x78
)

// FormatBatch is the message format of a Service Bus batch: each data section holds one encoded message.
const FormatBatch = 0x80013700

// Message is a message, decoded as far as a broker has to look into it. Properties and body stay as the sender encoded them.
type Message struct {
	Header
	DeliveryAnnotations Map
	Annotations         Map
	Properties          Properties
	Application         Map

	Value any      // of an amqp-value body
	Data  [][]byte // of a body of data sections

	properties Raw // the section
	body       Raw // the sections of the body, and the footer
}

// Header is a message's header.
type Header struct {
	Durable       bool
	Priority      uint8
	TTL           uint32 // milliseconds; 0: none
	DeliveryCount uint32 // unsuccessful deliveries before this one
}

// Properties are those that a broker reads.
type Properties struct {
	MessageID     any
	ReplyTo       string
	CorrelationID any
	GroupID       string
}

// DecodeMessage decodes a whole message. It shares b's memory.
func DecodeMessage(b []byte) (*Message, error) {
	m := &Message{Header: Header{Priority: 4}}
	for rest := b; len(rest) > 0; {
		v, after, err := Decode(rest)
		if err != nil {
			return nil, fmt.Errorf("decode message: %w", err)
		}
		section := Raw(rest[:len(rest)-len(after)])
		if err := m.add(v, section); err != nil {
			return nil, fmt.Errorf("decode message: %w", err)
		}
		rest = after
	}
	return m, nil
}

func (m *Message) add(v any, section Raw) error {
	d, ok := v.(Described)
	code, isCode := d.Descriptor.(uint64)
	if !ok || !isCode {
		return fmt.Errorf("%w: a section without a descriptor", ErrMalformed)
	}
	_, f := open(v)
	switch code {
	case sectionHeader:
		m.Header = Header{Durable: get(f, 0, false), Priority: get[uint8](f, 1, 4), TTL: get[uint32](f, 2, 0), DeliveryCount: get[uint32](f, 4, 0)}
	case sectionDeliveryAnnotations:
		m.DeliveryAnnotations, ok = d.Value.(Map)
	case sectionMessageAnnotations:
		m.Annotations, ok = d.Value.(Map)
	case sectionProperties:
		_, ok = d.Value.(List)
		m.Properties = Properties{MessageID: f.at(0), ReplyTo: get(f, 4, ""), CorrelationID: f.at(5), GroupID: get(f, 10, "")}
		m.properties = section
	case sectionApplication:
		m.Application, ok = d.Value.(Map)
		for k := range m.Application {
			if _, isString := k.(string); !isString {
				f.fail("an application property with a key of type %T", k)
			}
		}
	case sectionData:
		var data []byte
		data, ok = d.Value.([]byte)
		m.Data = append(m.Data, data)
		m.body = append(m.body, section...)
	case sectionSequence, sectionValue:
		m.Value = d.Value
		m.body = append(m.body, section...)
	case sectionFooter:
		m.body = append(m.body, section...)
	default:
		return fmt.Errorf("%w: no section has the descriptor %#x", ErrMalformed, code)
	}
	if !ok {
		f.fail("a value of type %T", d.Value)
	}
	if f.err != nil {
		return fmt.Errorf("section %#x: %w", code, f.err)
	}
	return nil
}

// Append appends m, encoded, to b. The body and the properties of a message that was decoded are its sender's; those of
// one that was not are Value, MessageID, ReplyTo and CorrelationID.
func (m *Message) Append(b []byte) []byte {
	header := List{m.Durable, m.Priority, nil, nil, m.DeliveryCount}
	if m.TTL > 0 {
		header[2] = m.TTL
	}
	b = appendSection(b, sectionHeader, header)
	if len(m.DeliveryAnnotations) > 0 {
		b = appendSection(b, sectionDeliveryAnnotations, m.DeliveryAnnotations)
	}
	if len(m.Annotations) > 0 {
		b = appendSection(b, sectionMessageAnnotations, m.Annotations)
	}
	switch {
	case m.properties != nil:
		b = append(b, m.properties...)
	case m.Properties.MessageID != nil || m.Properties.CorrelationID != nil:
		l := List{m.Properties.MessageID, nil, nil, nil, nil, m.Properties.CorrelationID}
		if m.Properties.ReplyTo != "" {
			l[4] = m.Properties.ReplyTo
		}
		b = appendSection(b, sectionProperties, l)
	}
	if len(m.Application) > 0 {
		b = appendSection(b, sectionApplication, m.Application)
	}
	if m.body == nil {
		return appendSection(b, sectionValue, m.Value)
	}
	return append(b, m.body...)
}

func appendSection(b []byte, code uint64, v any) []byte { return Append(b, Described{code, v}) }
