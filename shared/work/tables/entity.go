package tables

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"pinreset/shared/work"
)

// Limits of one entity (Understanding the Table service data model).
const (
	maxProperty   = 64 << 10
	maxProperties = 252
	maxEntity     = 1 << 20
)

func property(i int) string { return fmt.Sprintf("v%02d", i) }

// encode returns the entity in JSON. It is written from a map and not from the client's own type, which doubles quotes.
func encode(partition, row string, value []byte) ([]byte, error) {
	// The page's sum: 4 bytes, the keys in UTF-16, and 8 bytes beside each property's name, in UTF-16, and value, here
	// with the 4 bytes of its length.
	size := 4 + 2*(len(partition)+len(row))
	entity := map[string]any{"PartitionKey": partition, "RowKey": row}
	n := 0
	for rest := value; len(rest) > 0; n++ {
		part := rest[:min(maxProperty, len(rest))]
		rest = rest[len(part):]
		name := property(n)
		entity[name] = base64.StdEncoding.EncodeToString(part)
		entity[name+"@odata.type"] = "Edm.Binary"
		size += 8 + 2*len(name) + 4 + len(part)
	}
	if n > maxProperties {
		return nil, fmt.Errorf("entity of %d properties, at most %d: %w", n, maxProperties, work.ErrTooLarge)
	}
	if size > maxEntity {
		return nil, fmt.Errorf("entity of %d bytes, at most %d: %w", size, maxEntity, work.ErrTooLarge)
	}
	return json.Marshal(entity)
}

// decode returns the row that the entity is; a row of a list with its version.
func decode(entity []byte) (work.Row, error) {
	var properties map[string]any
	if err := json.Unmarshal(entity, &properties); err != nil {
		return work.Row{}, fmt.Errorf("decode entity: %w", err)
	}
	text := func(name string) string { s, _ := properties[name].(string); return s }
	row := work.Row{Key: work.Key{Partition: text("PartitionKey"), Row: text("RowKey")}, ETag: text("odata.etag")}
	for i := 0; ; i++ {
		value, ok := properties[property(i)]
		if !ok {
			return row, nil
		}
		encoded, ok := value.(string)
		if !ok {
			return work.Row{}, errors.New("decode entity: a property is not binary: it was not written by this program")
		}
		part, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return work.Row{}, fmt.Errorf("decode entity: %w", err)
		}
		row.Value = append(row.Value, part...)
	}
}
