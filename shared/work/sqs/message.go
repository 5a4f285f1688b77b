package sqs

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"pinreset/shared/work"
)

// Attributes by which the driver tells itself what SQS does not take as it is.
const (
	// AttributeEncoding is there when the body is not as it was sent; its value is "base64".
	AttributeEncoding = "pinreset-encoding"
	// AttributeEmpty names the attributes that have no text, which SQS refuses ("MessageAttributeValue"), with commas between them.
	AttributeEmpty = "pinreset-empty"
)

// attribute is a message attribute. The driver sends text only.
type attribute struct {
	DataType    string
	StringValue string `json:",omitempty"`
}

// encode writes a message as SQS carries it, and says how many of its bytes count.
func encode(body []byte, attributes map[string]string) (text string, all map[string]attribute, size int, err error) {
	all = make(map[string]attribute, len(attributes)+1)
	var empty []string
	for name, value := range attributes {
		if value == "" {
			empty = append(empty, name)
			continue
		}
		all[name] = attribute{DataType: "String", StringValue: value}
	}
	if len(empty) > 0 {
		slices.Sort(empty)
		all[AttributeEmpty] = attribute{DataType: "String", StringValue: strings.Join(empty, ",")}
	}
	text = string(body)
	if !plain(text) {
		text = base64.StdEncoding.EncodeToString(body)
		if text == "" {
			text = "=" // a message has at least one character
		}
		all[AttributeEncoding] = attribute{DataType: "String", StringValue: "base64"}
	}
	size = len(text)
	for name, a := range all {
		size += len(name) + len(a.DataType) + len(a.StringValue)
	}
	if size > maxBytes {
		return "", nil, 0, fmt.Errorf("message of %d bytes with its attributes, at most %d: %w", size, maxBytes, work.ErrTooLarge)
	}
	return text, all, size, nil
}

// Decode gives the body back as it was sent, from a message's text and its attributes, of which those without text are put in again. ok is
// false where the text is not what the attributes say; the text is returned as it is then.
func Decode(text string, attributes map[string]string) (body []byte, ok bool) {
	if empty, there := attributes[AttributeEmpty]; there {
		for name := range strings.SplitSeq(empty, ",") {
			attributes[name] = ""
		}
		delete(attributes, AttributeEmpty)
	}
	if attributes[AttributeEncoding] != "base64" {
		return []byte(text), true
	}
	if text == "=" {
		return nil, true
	}
	body, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return []byte(text), false
	}
	return body, true
}

// plain reports whether a body may be sent as it is ("SendMessageBatch": characters of XML 1.0, at least one). A carriage return may be,
// but what reads XML on the way would change it.
func plain(text string) bool {
	if text == "" || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if (r < 0x20 && r != '\t' && r != '\n') || r == 0xfffe || r == 0xffff {
			return false
		}
	}
	return true
}
