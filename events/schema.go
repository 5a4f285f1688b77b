package events

import (
	"embed"
	"io/fs"
)

//go:embed schema/*.json examples/*.json
var files embed.FS

// SchemaID is the identifier of a kind's JSON Schema: the CloudEvents dataschema attribute.
func SchemaID(kind string) string { return "urn:pinreset:schema:" + kind }

// Envelope is the name under which SchemaID and Schema know the schema of the whole event. It refers to those of the kinds.
const Envelope = "cloudevent"

// Schema returns the JSON Schema (2020-12) of a kind's data, or of the Envelope; ok is false for an unknown kind. What a
// schema can't say, only Parse checks: that no name is there twice, that the subject agrees with the data, the size of the
// whole, and that times are of the years 1 to 9999.
func Schema(kind string) (schema []byte, ok bool) { return file("schema/" + kind + ".json") }

// Example returns a whole event of the kind, as it travels. Every host's tests are fed with the examples.
func Example(kind string) (event []byte, ok bool) { return file("examples/" + kind + ".json") }

func file(name string) ([]byte, bool) {
	data, err := fs.ReadFile(files, name)
	return data, err == nil
}
