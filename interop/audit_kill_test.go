// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/xfrguard/xfrguard/interop/peer"
)

const (
	killRounds  = 200
	killClients = 5
)

// killed is one CoreDNS after the other on the same audit file, each of them killed.
type killed struct {
	auditSetup
	t     *testing.T
	dig   string
	all   []catch
	digs  map[string]bool // addresses from which dig got records
	torn  int             // tails that we tore
	young int             // of them, those that a server finds which is killed while it starts
	bytes int64           // of the file that were read already
}

// However often and whenever CoreDNS is killed: no client holds bytes of the zone
// for which the file has no allow, every torn tail is repaired, and the chain holds.
func TestAuditKill(t *testing.T) {
	if !guarded {
		t.Skip("stock CoreDNS")
	}
	t.Parallel()
	tool := operatorTool(t)
	k := &killed{t: t, dig: peer.Binary(t, "dig"), digs: map[string]bool{}}
	k.options = "bandwidth 800KB" // so that many transfers are under way when it dies
	k.prepare(t)
	start := time.Now()
	for n := range killRounds {
		k.round(n)
	}
	took := time.Since(start)
	k.run(func() { eventually(t, "the last one to serve", func() error { return k.served() }) }) // repairs what the last round left
	lines := readAudit(t, k.log)
	k.check(lines, k.all, k.digs)
	repairs, allows, ends := 0, 0, 0
	for _, l := range lines {
		switch {
		case l.Action == "audit-repair":
			repairs++
		case l.Allowed():
			allows++
		case l.Action == peer.ActionEnd:
			ends++
		}
	}
	if repairs < k.torn-k.young {
		t.Errorf("%d tails were torn, %d of them found by a server that was killed at its start; %d repairs are on record", k.torn, k.young, repairs)
	}
	wantVerified(t, tool, k.log)
	held := count(k.all, func(c catch) bool { return c.zone > 0 })
	cut := count(k.all, func(c catch) bool { return c.zone > 0 && !c.complete })
	t.Logf("%d rounds in %s: %d requests, %d clients hold bytes of the zone (%d of them a part), dig %d times; %d lines, %d allows, %d ends, %d tails torn, %d repaired",
		killRounds, took.Round(time.Millisecond), len(k.all), held, cut, len(k.digs), len(lines), allows, ends, k.torn, repairs)
	if held < killRounds || cut == 0 {
		t.Error("too few clients hold anything: this shows nothing")
	}
}

// round runs a server, kills it at a random moment, and checks what it left at once.
func (k *killed) round(n int) {
	r := &killRound{killed: k, quit: make(chan struct{}), first: make(chan struct{}), digs: map[string]bool{}}
	if n%4 == 0 { // while it starts, and repairs
		k.run(func() { time.Sleep(rand.N(50 * time.Millisecond)) })
	} else {
		k.run(func() {
			for i := range killClients {
				r.wg.Go(func() { r.client(fmt.Sprintf("127.30.%d.%d", n, i+1)) })
			}
			r.wg.Go(func() { r.runDig(fmt.Sprintf("127.31.%d.1", n)) })
			select {
			case <-r.first:
			case <-time.After(auditPatience):
				k.t.Error("the server does not serve")
				r.started()
			}
			time.Sleep(rand.N(100 * time.Millisecond))
			close(r.quit)
		})
		r.wg.Wait()
	}
	k.check(k.fresh(), r.catches, r.digs)
	k.all = append(k.all, r.catches...)
	maps.Copy(k.digs, r.digs)
	if n%5 == 0 {
		k.tear(n)
	}
}

// killRound is the clients of one server.
type killRound struct {
	*killed
	wg      sync.WaitGroup
	quit    chan struct{}
	first   chan struct{} // closed when a client has reached the server
	once    sync.Once
	mu      sync.Mutex
	catches []catch
	digs    map[string]bool
}

func (r *killRound) started() { r.once.Do(func() { close(r.first) }) }

// client fetches until the round is over. What is under way when the server dies ends with it.
func (r *killRound) client(from string) {
	for {
		if conn, err := dial(r.addr(), from, auditPatience); err == nil {
			r.started()
			got, _ := fetchFrom(conn)
			r.mu.Lock()
			r.catches = append(r.catches, got)
			r.mu.Unlock()
		}
		select {
		case <-r.quit:
			return
		case <-time.After(4 * time.Millisecond):
		}
	}
}

// runDig fetches the zone once with dig, from an address of its own.
func (r *killRound) runDig(from string) {
	<-r.first
	out, _ := exec.Command(r.dig, "@127.0.0.1", "-p", strconv.Itoa(r.port), "-b", from, "+tries=1", "+time=1", auditZone, "AXFR").Output()
	if bytes.Contains(out, []byte("\tIN\t")) {
		r.mu.Lock()
		r.digs[from] = true
		r.mu.Unlock()
	}
}

// run has a server run while do does, and kills it.
func (k *killed) run(do func()) {
	k.t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(coreDNS, "-conf", k.corefile())
	cmd.Dir, cmd.Stdout, cmd.Stderr = k.dir, &out, &out
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
			k.t.Fatalf("the server ended by itself: %v\n%s", err, out.String())
		}
	}()
	do()
}

func (k *killed) served() error {
	got, err := fetch(k.addr(), "127.33.0.1", time.Second)
	if err == nil && !got.complete {
		err = fmt.Errorf("%s", got)
	}
	k.all = append(k.all, got)
	return err
}

// fresh returns the whole lines that came to the file since the last call.
func (k *killed) fresh() []auditLine {
	k.t.Helper()
	text, err := os.ReadFile(k.log)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		k.t.Fatal(err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	fresh := decodeAudit(k.t, text[min(k.bytes, int64(len(text))):])
	k.bytes = int64(len(text))
	return fresh
}

// check compares what clients hold with what is on record.
func (k *killed) check(lines []auditLine, catches []catch, digs map[string]bool) {
	k.t.Helper()
	for _, c := range unrecorded(lines, catches) {
		k.t.Errorf("not on record: %s", c)
	}
	recorded := make(map[string]bool)
	for _, l := range lines {
		if l.Allowed() {
			recorded[l.Client] = true
		}
	}
	for from := range digs {
		if !recorded[from] {
			k.t.Errorf("dig at %s has records of the zone and is not on record", from)
		}
	}
}

// tear leaves what a crash of the machine can leave at the end of a file: the
// beginning of a line, or pages that were never filled. A file that has no whole line
// yet is left alone: of what may be somebody else's file nothing would be removed.
func (k *killed) tear(n int) {
	k.t.Helper()
	if k.bytes == 0 {
		return
	}
	f, err := os.OpenFile(k.log, os.O_WRONLY|os.O_APPEND, 0)
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	tail := []byte(`{"@timestamp":"2026-01-01T00:00:00Z","log.level":"info","message":"zone tra`)
	if n%2 == 1 {
		tail = make([]byte, 700)
	}
	if _, err := f.Write(tail); err != nil {
		k.t.Fatal(err)
	}
	k.torn++
	if (n+1)%4 == 0 { // it may have removed the tail, and not have come to say so
		k.young++
	}
}
