package main

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"text/tabwriter"
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
