package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// column is one column of a table: a heading for people and the path of the field in the JSON form.
type column struct{ head, path string }

// columns makes columns of paths; a heading other than the path's last name is put before it, as in "RESET=eligibility.answer".
func columns(paths ...string) []column {
	cols := make([]column, len(paths))
	for i, path := range paths {
		head, rest, ok := strings.Cut(path, "=")
		if !ok {
			head, rest = path[strings.LastIndex(path, ".")+1:], path
		}
		cols[i] = column{strings.ToUpper(head), rest}
	}
	return cols
}

// chosen are the columns that --fields names, or the usual ones. A field that T does not have is a mistake: in a script it
// would be an empty column for ever.
func chosen[T any](p *process, usual []column) ([]column, error) {
	if len(p.fields) == 0 {
		return usual, nil
	}
	t := reflect.TypeFor[T]()
	for _, path := range p.fields {
		if !hasField(t, strings.Split(path, ".")) {
			return nil, &mistake{fmt.Sprintf("--fields: there is no field %q; there are %s", path, strings.Join(fieldNames(t), ", "))}
		}
	}
	return columns(p.fields...), nil
}

// printList prints the rows of a list as they come, or says on stderr that there is none.
func printList[T any](p *process, usual []column, seq iter.Seq2[T, error], none string) error {
	cols, err := chosen[T](p, usual)
	if err != nil {
		return err
	}
	t := p.table(cols)
	n := 0
	for v, err := range seq {
		if err != nil {
			t.abort()
			return err
		}
		if err := t.add(v); err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		p.note("%s", none)
	}
	return t.end()
}

// printOne prints one value: for people as lines of name and value with more below them, for programs as one row.
func printOne[T any](p *process, usual []column, v T, more func(w io.Writer)) error {
	cols, err := chosen[T](p, usual)
	if err != nil {
		return err
	}
	switch {
	case p.format == jsonFormat && len(p.fields) == 0:
		return encode(p.stdout, v, "  ")
	case p.format == jsonFormat:
		r, err := rowOf(v)
		if err != nil {
			return err
		}
		return encode(p.stdout, r.pick(cols), "  ")
	case p.format != tableFormat:
		t := p.table(cols)
		if err := t.add(v); err != nil {
			return err
		}
		return t.end()
	}
	r, err := rowOf(v)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, c := range cols {
		if text := r.text(c.path); text != "" {
			fmt.Fprintf(w, "%s\t%s\n", strings.ToLower(c.head), c.shown(text))
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if more != nil && len(p.fields) == 0 {
		more(p.stdout)
	}
	return nil
}

// table prints rows in the format asked for.
type table struct {
	format format
	cols   []column
	whole  bool // objects as they are, not only the columns
	out    io.Writer
	tabs   *tabwriter.Writer
	rows   int
}

func (p *process) table(cols []column) *table {
	t := &table{format: p.format, cols: cols, whole: len(p.fields) == 0, out: p.stdout}
	if t.format == tableFormat {
		t.tabs = tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	}
	return t
}

func (t *table) add(v any) error {
	r, err := rowOf(v)
	if err != nil {
		return err
	}
	t.rows++
	object := v
	if !t.whole {
		object = r.pick(t.cols)
	}
	switch t.format {
	case jsonFormat:
		lead := ",\n"
		if t.rows == 1 {
			lead = "[\n"
		}
		if _, err := io.WriteString(t.out, lead); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		text, err := compact(object)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(t.out, "  %s", text)
		return err
	case jsonlFormat:
		return encode(t.out, object, "")
	}
	cells := make([]string, len(t.cols))
	for i, c := range t.cols {
		text := r.text(c.path)
		if t.format == tsvFormat {
			cells[i] = escaped(text)
			continue
		}
		if cells[i] = c.shown(text); text == "" {
			cells[i] = "-"
		}
	}
	if t.format == tsvFormat {
		_, err := fmt.Fprintln(t.out, strings.Join(cells, "\t"))
		return err
	}
	if t.rows == 1 {
		heads := make([]string, len(t.cols))
		for i, c := range t.cols {
			heads[i] = c.head
		}
		fmt.Fprintln(t.tabs, strings.Join(heads, "\t"))
	}
	_, err = fmt.Fprintln(t.tabs, strings.Join(cells, "\t"))
	return err
}

// end finishes the list.
func (t *table) end() error {
	var err error
	switch {
	case t.tabs != nil:
		err = t.tabs.Flush()
	case t.format == jsonFormat && t.rows == 0:
		_, err = fmt.Fprintln(t.out, "[]")
	case t.format == jsonFormat:
		_, err = fmt.Fprintln(t.out, "\n]")
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// abort shows the rows so far and leaves a JSON array open, so that nobody takes it for whole.
func (t *table) abort() {
	if t.tabs != nil {
		_ = t.tabs.Flush() // the error that ended the list is the one to report
	}
}

// row is a value as its JSON form has it.
type row map[string]any

func rowOf(v any) (row, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode output: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var r row
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("decode output: %w", err)
	}
	return r, nil
}

func (r row) value(path string) any {
	var v any = map[string]any(r)
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// text is a field as a cell shows it; what is not there is "".
func (r row) text(path string) string {
	switch v := r.value(path).(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, part := range v {
			if s, ok := part.(string); ok {
				parts[i] = s
			} else if text, err := compact(part); err == nil {
				parts[i] = text
			}
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		text, _ := compact(v) // decoded from JSON a moment ago
		return text
	default:
		return fmt.Sprint(v)
	}
}

// picked is an object of some fields in the order they were asked for.
type picked struct {
	names  []string
	values []any
}

func (r row) pick(cols []column) picked {
	var p picked
	for _, c := range cols {
		p.names, p.values = append(p.names, c.path), append(p.values, r.value(c.path))
	}
	return p
}

// MarshalJSON implements json.Marshaler.
func (p picked) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, name := range p.names {
		value, err := compact(p.values[i])
		if err != nil {
			return nil, err
		}
		lead := ","
		if i == 0 {
			lead = "{"
		}
		fmt.Fprintf(&b, "%s%q:%s", lead, name, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func encode(w io.Writer, v any, indent string) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func compact(v any) (string, error) {
	var b strings.Builder
	err := encode(&b, v, "")
	return strings.TrimSuffix(b.String(), "\n"), err
}

// clean makes text from elsewhere safe for a terminal: a device's name may try to move the cursor, to change the reading
// direction or to hide characters.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// shown is a field as a person reads it: times to the second, and of a diagnostics link the id.
func (c column) shown(text string) string {
	if c.path == "diagnostics" {
		return clean(diagID(text))
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC().Format(time.RFC3339)
	}
	return clean(text)
}

var tsvEscapes = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

func escaped(s string) string { return clean(tsvEscapes.Replace(s)) }

// stamp is an absolute time with how far away it is.
func (p *process) stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("Mon 2 Jan 2006 15:04 UTC") + ", " + apart(t.Sub(p.now()))
}

// apart is a distance in time, in at most two units.
func apart(d time.Duration) string {
	text, minutes := "", int(d.Abs().Minutes())
	switch days, hours := minutes/1440, minutes/60%24; {
	case minutes == 0 && d.Abs() < time.Second:
		return "now"
	case minutes == 0:
		text = fmt.Sprintf("%d s", int(d.Abs().Seconds()))
	case days > 0:
		text = fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		text = fmt.Sprintf("%d h %d min", hours, minutes%60)
	default:
		text = fmt.Sprintf("%d min", minutes)
	}
	if d < 0 {
		return text + " ago"
	}
	return "in " + text
}

// fieldNames are the JSON names of a struct's fields.
func fieldNames(t reflect.Type) []string {
	names := make([]string, 0, t.NumField())
	for f, name := range jsonFields(t) {
		if f.Tag.Get("json") != "-" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func hasField(t reflect.Type, path []string) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if len(path) == 0 || t.Kind() == reflect.Map || t == reflect.TypeFor[json.RawMessage]() {
		return true
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	for f, name := range jsonFields(t) {
		if name == path[0] {
			return hasField(f.Type, path[1:])
		}
	}
	return false
}

// jsonFields goes through the fields of a struct with their JSON names, into embedded ones too.
func jsonFields(t reflect.Type) iter.Seq2[reflect.StructField, string] {
	return func(yield func(reflect.StructField, string) bool) {
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() || f.Anonymous || name == "" || name == "-" {
				continue
			}
			if !yield(f, name) {
				return
			}
		}
	}
}
