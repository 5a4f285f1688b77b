package awsapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswer is more than any answer has: ten messages of SQS are 1 MiB together, before they are written as JSON.
const maxAnswer = 16 << 20

// JSON calls an operation by the JSON protocol 1.0. target is the service's name and the operation's, such as AmazonSQS.SendMessage. out
// is nil where the answer says nothing.
func (a *Account) JSON(ctx context.Context, service, endpoint, target string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode %s: %w", target, err)
	}
	answer, err := a.post(ctx, service, endpoint, "application/x-amz-json-1.0", target, body)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read answer of %s: %w", target, err)
	}
	return nil
}

// Query calls an operation by the query protocol. The form names it as Action, with its Version; out takes the answer's XML.
func (a *Account) Query(ctx context.Context, service, endpoint string, form url.Values, out any) error {
	answer, err := a.post(ctx, service, endpoint, "application/x-www-form-urlencoded; charset=utf-8", "", []byte(form.Encode()))
	if err != nil || out == nil {
		return err
	}
	if err := xml.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read answer of %s: %w", form.Get("Action"), err)
	}
	return nil
}

func (a *Account) post(ctx context.Context, service, endpoint, contentType, target string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", service, err)
	}
	r.Header.Set("Content-Type", contentType)
	if target != "" {
		r.Header.Set("X-Amz-Target", target)
	}
	who, err := a.Credentials(ctx)
	if err != nil {
		return nil, fmt.Errorf("sign in to AWS: %w", err)
	}
	sum := sha256.Sum256(body)
	if err := a.signer.SignHTTP(ctx, who, r, hex.EncodeToString(sum[:]), service, a.Region, a.Now()); err != nil {
		return nil, fmt.Errorf("sign request to %s: %w", service, err)
	}
	answer, err := a.HTTP.Do(r)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", service, err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read answer of %s: %w", service, err)
	case len(data) > maxAnswer:
		return nil, fmt.Errorf("read answer of %s: %w", service, errLong)
	case answer.StatusCode != http.StatusOK:
		return nil, refusal(answer.StatusCode, data)
	}
	return data, nil
}

var errLong = errors.New("more than 16 MiB")

// refusal reads an error in either protocol. JSON names its code with the namespace of the service's model before a #.
func refusal(status int, data []byte) *Error {
	e := &Error{Status: status, Code: http.StatusText(status)}
	var text struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if json.Unmarshal(data, &text) == nil && text.Type != "" {
		e.Code, e.Message = text.Type[strings.LastIndexByte(text.Type, '#')+1:], text.Message
		return e
	}
	var query struct {
		Error struct{ Code, Message string }
	}
	if xml.Unmarshal(data, &query) == nil && query.Error.Code != "" {
		e.Code, e.Message = query.Error.Code, query.Error.Message
	}
	return e
}
