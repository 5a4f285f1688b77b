package worktest

import (
	"fmt"

	"pinreset/shared/work"
)

type document struct {
	State string `json:"state"`
}

// unit returns a unit of work on the backend. Its ids are numbered.
func (t *trial) unit() *work.Unit {
	return work.NewUnit(t.Store, partition, t.Now(), t.id)
}

func (t *trial) commitUnit(u *work.Unit) {
	t.Helper()
	if err := u.Commit(t.ctx); err != nil {
		t.Fatalf("Commit of the unit: %v", err)
	}
}

func (t *trial) checkpoint(u *work.Unit) {
	t.Helper()
	if err := u.Checkpoint(t.ctx); err != nil {
		t.Fatalf("checkpoint unit: %v", err)
	}
}

func (t *trial) stage(u *work.Unit, row, state string) {
	t.Helper()
	if err := u.Put(row, document{state}); err != nil {
		t.Fatalf("Put %s: %v", row, err)
	}
}

// wantState checks what the unit sees in the row; "" is no row.
func (t *trial) wantState(u *work.Unit, row, state string) {
	t.Helper()
	var got document
	err := u.Get(t.ctx, row, &got)
	if state == "" {
		t.want("Get "+row, err, work.ErrNotFound)
		return
	}
	if err != nil || got.State != state {
		t.Errorf("%s is %q, %v, want %q", row, got.State, err, state)
	}
}

func stored(state string) string { return fmt.Sprintf(`{"state":%q}`, state) }

var unitSentences = []sentence{
	{"a unit sees what it staged, and nobody else does before it commits", func(t *trial) {
		u := t.unit()
		t.stage(u, "r", "new")
		t.wantState(u, "r", "new")
		t.wantRow("r", "")
		t.checkpoint(u)
		t.wantRow("r", stored("new"))
		u.Delete("r")
		t.wantState(u, "r", "")
		t.wantRow("r", stored("new"))
	}},
	{"a row that changed since the unit read it is a conflict", func(t *trial) {
		t.commit(rows(put("r", stored("old"))))
		for name, change := range map[string]func(*work.Unit){
			"put":    func(u *work.Unit) { t.stage(u, "r", "mine") },
			"delete": func(u *work.Unit) { u.Delete("r") },
		} {
			u := t.unit()
			t.wantState(u, "r", "old")
			t.commit(rows(put("r", stored("old")))) // the same value is a change too
			change(u)
			t.stage(u, "beside", "mine")
			t.want(name, u.Commit(t.ctx), work.ErrConflict)
			t.wantRow("r", stored("old"))
			t.wantRow("beside", "")
		}
	}},
	{"a row that the unit found missing must still be missing", func(t *trial) {
		u := t.unit()
		t.wantState(u, "r", "")
		t.commit(rows(put("r", stored("theirs"))))
		t.stage(u, "r", "mine")
		t.want("Commit", u.Commit(t.ctx), work.ErrConflict)
		t.wantRow("r", stored("theirs"))
	}},
	{"a row that the unit never read is written whatever it is", func(t *trial) {
		t.commit(rows(put("r", stored("theirs")), put("s", stored("theirs"))))
		u := t.unit()
		t.stage(u, "r", "mine")
		u.Delete("s")
		u.Delete("nothing")
		t.commitUnit(u)
		t.wantRow("r", stored("mine"))
		t.wantRow("s", "")
	}},
	{"Create fails over a row that exists", func(t *trial) {
		t.commit(rows(put("r", stored("theirs"))))
		u := t.unit()
		if err := u.Create("r", document{"mine"}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		t.want("Commit", u.Commit(t.ctx), work.ErrConflict)
		t.wantRow("r", stored("theirs"))
		u = t.unit()
		if err := u.Create("s", document{"mine"}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		t.commitUnit(u)
		t.wantRow("s", stored("mine"))
	}},
	{"a unit goes on after its checkpoint with the versions that it wrote", func(t *trial) {
		u := t.unit()
		t.wantState(u, "r", "")
		t.stage(u, "r", "intent")
		t.stage(u, "s", "intent")
		t.checkpoint(u)
		if b := u.Batch(); len(b.Writes)+len(b.Messages) > 0 {
			t.Errorf("%d writes and %d messages are staged after the commit", len(b.Writes), len(b.Messages))
		}
		t.stage(u, "r", "result")
		u.Delete("s")
		t.checkpoint(u)
		t.wantRow("r", stored("result"))
		t.wantRow("s", "")
		t.stage(u, "s", "again")
		t.checkpoint(u)
		t.wantRow("s", stored("again"))
	}},
	{"a unit notices what others did after its checkpoint", func(t *trial) {
		u := t.unit()
		t.stage(u, "r", "intent")
		t.stage(u, "s", "intent")
		u.Delete("gone")
		t.checkpoint(u)
		t.commit(rows(put("r", stored("theirs")), put("gone", stored("back"))))
		t.stage(u, "r", "result")
		t.want("Commit over their row", u.Commit(t.ctx), work.ErrConflict)
		t.wantRow("r", stored("theirs"))

		v := t.unit()
		v.Delete("s")
		t.checkpoint(v)
		t.commit(rows(put("s", stored("theirs"))))
		t.stage(v, "s", "mine")
		t.want("Commit over a row that came back", v.Commit(t.ctx), work.ErrConflict)
		t.wantRow("s", stored("theirs"))
	}},
	{"a unit that has checkpointed an intent settles its delivery over it", func(t *trial) {
		t.send(t.message())
		d := t.take()
		u := t.unit()
		t.wantState(u, "r", "")
		t.stage(u, "r", "intent")
		t.checkpoint(u)
		t.stage(u, "r", "result")
		follow := t.message()
		follow.Queue = otherQueue
		u.Post(follow)
		t.settle(d, u.Batch(), work.Outcome{})
		t.wantRow("r", stored("result"))
		if next := t.receive(otherQueue, 1)[0]; next.ID != follow.ID {
			t.Errorf("%s followed, want %s", next.ID, follow.ID)
		}
	}},
	{"two units that read one row can't both commit", func(t *trial) {
		t.commit(rows(put("r", stored("old"))))
		a, b := t.unit(), t.unit()
		t.wantState(a, "r", "old")
		t.wantState(b, "r", "old")
		t.stage(a, "r", "first")
		t.stage(b, "r", "second")
		t.commitUnit(a)
		t.want("Commit", b.Commit(t.ctx), work.ErrConflict)
		t.wantRow("r", stored("first"))
	}},
	{"a unit lists the rows of its partition", func(t *trial) {
		keys := t.fill(partition, "row-", 5)
		t.fill("tenant-b", "row-", 9)
		page, err := t.unit().List(t.ctx, "row-", 3, "")
		if err != nil || len(page.Rows) != 3 || page.Next == "" {
			t.Fatalf("List: %d rows, next %q, %v, want 3 rows and a next page", len(page.Rows), page.Next, err)
		}
		page, err = t.unit().List(t.ctx, "row-", 3, page.Next)
		if err != nil || len(page.Rows) != 2 || page.Rows[1].Row != keys[4] || page.Next != "" {
			t.Errorf("List: %v, next %q, %v, want the last two rows", page.Rows, page.Next, err)
		}
	}},
}
