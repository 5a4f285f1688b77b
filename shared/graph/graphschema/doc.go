// Package graphschema checks Microsoft Graph v1.0 requests and responses
// against Microsoft's published schema.
//
// It exists so that a property name, a type or an enum member that Graph does
// not have is found by a test on a laptop and not by a customer. The client's
// tests and the simulator's tests wrap their transport in a [Recorder]; the
// simulator also asks the table which names $select may use.
//
// The table (table.json) is a small extract of Microsoft's CSDL,
// microsoftgraph/msgraph-metadata schemas/v1.0-Prod.csdl (MIT licence); its
// date is in the table's source field. It holds only the types, enums and
// operations that the client and the simulator use. Inherited properties stay
// on the base type, as in the schema, and are resolved on look-up. Three types
// are not in the extract and are declared in table.go with the reason.
//
// What is checked: path segments, bound actions and functions, names in
// $select, $expand and $filter, properties of request bodies, and of every
// response property that is present its name, type, nullability and enum
// members. Names starting with or containing "@" are annotations and allowed.
//
// What is not: whether a required property is missing, values beyond their
// type, and permissions. For the beta endpoint no typed schema is at hand: [Beta]
// knows the names of the policies' properties, and nothing else is checked.
package graphschema
