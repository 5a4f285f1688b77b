package tables

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"pinreset/shared/work"
)

// answer is what the service says to a transaction: the status of the operation that failed, or a status below 400 when none
// did. A failed one is an error.
type answer struct {
	status int
	code   aztables.TableErrorCode
	index  int // of the operation among those sent; -1 when the service does not tell
}

func (a answer) Error() string {
	if a.index < 0 {
		return fmt.Sprintf("refused with status %d, %s", a.status, a.code)
	}
	return fmt.Sprintf("operation %d was refused with status %d, %s", a.index, a.status, a.code)
}

// Is makes the service's refusals of size errors that callers know. The limits are checked before, so this is for what
// the service counts otherwise.
func (a answer) Is(target error) bool {
	if target != work.ErrTooLarge {
		return false
	}
	switch a.code {
	case aztables.EntityTooLarge, aztables.PropertyValueTooLarge, aztables.TooManyProperties, "RequestBodyTooLarge", "ContentLengthExceeded":
		return true
	}
	return a.status == http.StatusRequestEntityTooLarge
}

// missing: an operation asked for a row that is not there. A table that is not there has the same status.
func (a answer) missing() bool {
	return a.status == http.StatusNotFound && a.code != aztables.TableNotFound
}

// refused: a condition does not hold.
func (a answer) refused() bool {
	return a.status == http.StatusPreconditionFailed || a.status == http.StatusConflict && a.code == aztables.EntityAlreadyExists
}

// passing: the service could not, for now. The client repeats only what has such a status outside.
func (a answer) passing() bool {
	return a.status == http.StatusInternalServerError || a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests
}

// write is the index of the write that was refused.
func (a answer) write(actions []action) int {
	if a.index < 0 || a.index >= len(actions) {
		return -1
	}
	return actions[a.index].write
}

// plainAnswer is an answer without parts: the request as a whole was refused.
func plainAnswer(status int, refused *azcore.ResponseError) answer {
	a := answer{status: status, index: -1}
	if refused != nil {
		a.code = aztables.TableErrorCode(refused.ErrorCode)
	}
	return a
}

// readAnswer reads the body of an answer with status 202, multipart in multipart, one part for each operation of the transaction that
// was made, or one for the operation that failed it. Anything else leaves open whether it was made, and is an error.
func readAnswer(contentType string, body []byte, operations int) (answer, error) {
	outer, err := parts(contentType, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if len(outer) != 1 {
		return answer{}, fmt.Errorf("read answer: %d parts, want 1", len(outer))
	}
	inner, err := parts(outer[0].contentType, bytes.NewReader(outer[0].body))
	if err != nil {
		return answer{}, err
	}
	for _, p := range inner {
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(p.body)), nil)
		if err != nil {
			return answer{}, fmt.Errorf("read answer: %w", err)
		}
		a := answer{status: r.StatusCode, index: -1}
		if a.status >= http.StatusBadRequest {
			a.code, a.index = cause(r.Body, len(inner) == 1 && operations == 1)
			return a, errors.Join(r.Body.Close())
		}
		_ = r.Body.Close()
	}
	if len(inner) != operations {
		return answer{}, fmt.Errorf("read answer: %d operations are answered of %d", len(inner), operations)
	}
	return answer{status: http.StatusAccepted, index: -1}, nil
}

type part struct {
	contentType string
	body        []byte
}

func parts(contentType string, r io.Reader) (all []part, err error) {
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	reader := multipart.NewReader(r, parameters["boundary"])
	for {
		p, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		all = append(all, part{p.Header.Get("Content-Type"), body})
	}
}

// cause reads which operation failed and why. The index stands in front of the message: "1:The specified entity …".
func cause(r io.Reader, alone bool) (code aztables.TableErrorCode, index int) {
	var failure struct {
		Error struct {
			Code    string
			Message struct{ Value string }
		} `json:"odata.error"`
	}
	index = -1
	if alone {
		index = 0
	}
	if json.NewDecoder(r).Decode(&failure) != nil {
		return "", index
	}
	if number, _, found := strings.Cut(failure.Error.Message.Value, ":"); found {
		if n, err := strconv.Atoi(number); err == nil && n >= 0 {
			index = n
		}
	}
	return aztables.TableErrorCode(failure.Error.Code), index
}
