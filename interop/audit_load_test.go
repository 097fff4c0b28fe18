// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// catch is what a client has in its hands after one AXFR.
type catch struct {
	client   netip.AddrPort
	id       uint16
	asked    time.Time // before the request was sent
	over     time.Time
	raw      int // bytes that came at all
	zone     int // bytes that may be of the zone: all but whole messages with an error and without records
	rcode    int // of the first message; -1 when none came
	records  int
	complete bool
}

func (c catch) String() string {
	return fmt.Sprintf("%s id %d: %d bytes, %d of the zone, rcode %d, %d records", c.client, c.id, c.raw, c.zone, c.rcode, c.records)
}

// fetch asks server for the zone from the address given and takes what comes until
// the zone is complete, an error comes, the connection ends, or patience does. Without
// a connection its id is 0.
func fetch(server, from string, patience time.Duration) (catch, error) {
	conn, err := dial(server, from, patience)
	if err != nil {
		return catch{rcode: -1}, err
	}
	return fetchFrom(conn)
}

func dial(server, from string, patience time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", server)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	return conn, err
}

// fetchFrom is fetch on a connection, which it closes.
func fetchFrom(conn net.Conn) (catch, error) {
	defer conn.Close()
	q := new(dns.Msg).SetAxfr(auditZone)
	q.Id = max(q.Id, 1)
	got := catch{client: netip.MustParseAddrPort(conn.LocalAddr().String()), id: q.Id, rcode: -1, asked: time.Now()}
	err := (&dns.Conn{Conn: conn}).WriteMsg(q)
	if err == nil {
		err = got.read(conn)
	}
	got.over = time.Now()
	return got, err
}

var frames = sync.Pool{New: func() any {
	b := make([]byte, 2+dns.MaxMsgSize)
	return &b
}}

func (c *catch) read(conn io.Reader) error {
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	frame := *buf
	for !c.complete {
		n, err := io.ReadFull(conn, frame[:2])
		c.raw += n
		if err != nil {
			c.zone += n
			return err
		}
		size := int(binary.BigEndian.Uint16(frame))
		n, err = io.ReadFull(conn, frame[2:2+size])
		c.raw += n
		if err != nil || size < 12 {
			c.zone += 2 + n
			return err
		}
		rcode, answers := int(frame[2+3]&15), int(binary.BigEndian.Uint16(frame[2+6:]))
		if c.rcode < 0 {
			c.rcode = rcode
		}
		if rcode != dns.RcodeSuccess && answers == 0 {
			return nil
		}
		c.zone += 2 + n
		c.records += answers
		c.complete = c.records == auditRecords+1
	}
	return nil
}

// load is clients that fetch the zone over and over, each from its own address.
type load struct {
	pause   time.Duration // of a client after each fetch
	quit    chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	catches []catch
}

// startLoad runs n clients with addresses 127.NET.0.1 and on. They leave alone what
// cannot be reached, and fetch again a little later.
func startLoad(server string, net byte, n int) *load {
	return startPacedLoad(server, net, n, time.Millisecond)
}

func startPacedLoad(server string, net byte, n int, pause time.Duration) *load {
	l := &load{pause: pause, quit: make(chan struct{})}
	for i := range n {
		l.wg.Go(func() { l.client(server, fmt.Sprintf("127.%d.0.%d", net, i+1)) })
	}
	return l
}

func (l *load) client(server, from string) {
	for {
		got, err := fetch(server, from, auditPatience)
		if got.id != 0 {
			l.mu.Lock()
			l.catches = append(l.catches, got)
			l.mu.Unlock()
		}
		pause := l.pause
		if err != nil || got.rcode > 0 {
			pause = max(pause, 5*time.Millisecond)
		}
		select {
		case <-l.quit:
			return
		case <-time.After(pause):
		}
	}
}

// stop ends the clients, after the fetches under way, and returns what all of them got.
func (l *load) stop() []catch {
	close(l.quit)
	l.wg.Wait()
	return l.so()
}

// so returns what all clients got so far.
func (l *load) so() []catch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.catches)
}

// more waits until n more zones have come over whole.
func (l *load) more(t testing.TB, n int) {
	t.Helper()
	whole := func() int { return count(l.so(), func(c catch) bool { return c.complete }) }
	want := whole() + n
	eventually(t, fmt.Sprintf("%d more transfers", n), func() error {
		if have := whole(); have < want {
			return fmt.Errorf("%d of %d", have, want)
		}
		return nil
	})
}

// refused waits until n more requests were refused.
func (l *load) refused(t testing.TB, n int) {
	t.Helper()
	before := len(l.so())
	eventually(t, fmt.Sprintf("%d refusals", n), func() error {
		if have := count(l.so()[before:], func(c catch) bool { return c.rcode == dns.RcodeServerFailure }); have < n {
			return fmt.Errorf("%d of %d", have, n)
		}
		return nil
	})
}

func count[T any](all []T, is func(T) bool) int {
	n := 0
	for _, one := range all {
		if is(one) {
			n++
		}
	}
	return n
}

// unrecorded returns the catches that hold bytes of the zone and have no line that allowed it.
func unrecorded(lines []auditLine, catches []catch) []catch {
	return withoutLine(lines, catches, auditLine.Allowed)
}

// withoutLine returns the catches that hold bytes of the zone and have no line of that kind.
func withoutLine(lines []auditLine, catches []catch, kind func(auditLine) bool) []catch {
	type request struct{ ip, port, id string }
	recorded := make(map[request]bool)
	for _, l := range lines {
		if kind(l) {
			recorded[request{l.Client, strconv.Itoa(l.Port), l.DNSID}] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(catches), func(c catch) bool {
		id := request{c.client.Addr().String(), strconv.Itoa(int(c.client.Port())), strconv.Itoa(int(c.id))}
		return c.zone == 0 || recorded[id]
	})
}

// queries asks for an ordinary name over and over, until stopped.
type queries struct {
	cancel context.CancelFunc
	done   chan struct{}
	asked  int
	failed []error
	worst  time.Duration
}

func startQueries(server string) *queries {
	ctx, cancel := context.WithCancel(context.Background())
	q := &queries{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(q.done)
		c := &dns.Client{Timeout: 2 * time.Second}
		m := new(dns.Msg).SetQuestion(auditZone, dns.TypeSOA)
		for ctx.Err() == nil {
			start := time.Now()
			r, _, err := c.Exchange(m, server)
			if err == nil && len(r.Answer) != 1 {
				err = fmt.Errorf("%s without an answer", dns.RcodeToString[r.Rcode])
			}
			if err != nil {
				q.failed = append(q.failed, err)
			}
			q.asked++
			q.worst = max(q.worst, time.Since(start))
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return q
}

// wantAnswered stops the queries; all of them must have been answered.
func (q *queries) wantAnswered(t testing.TB) {
	t.Helper()
	q.cancel()
	<-q.done
	if len(q.failed) > 0 || q.asked == 0 {
		t.Errorf("%d of %d ordinary queries failed: %v", len(q.failed), q.asked, q.failed)
	}
	t.Logf("%d ordinary queries, the slowest took %s", q.asked, q.worst.Round(time.Microsecond))
}
