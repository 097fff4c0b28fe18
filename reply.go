// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"context"
	"time"

	"github.com/xfrguard/xfrguard/internal/policy"
	"github.com/xfrguard/xfrguard/internal/wire"

	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// tap stands under CoreDNS's ScrubWriter, next to the connection. Plugins above
// it (log, prometheus, dnstap) see whole answers; what they do not get right is
// done here: padding that counts all of the message, and a TSIG that is the last
// record, after the OPT, with a real time in an error (RFC 8945 §5.3.2). After a transfer that went straight to the
// connection it swallows the summary that tells those plugins about it.
type tap struct {
	dns.ResponseWriter
	finish  func(*dns.Msg) ([]byte, error) // packs, pads and signs
	swallow bool
	size    int // what a swallowed Write counts for
}

// tapUnder puts a tap under the ScrubWriter of the chain; nil when there is none.
func tapUnder(w dns.ResponseWriter) *tap {
	var t *tap
	wire.Unwrap(w, func(w dns.ResponseWriter) bool {
		scrub, ok := w.(*request.ScrubWriter)
		if ok {
			t = &tap{ResponseWriter: scrub.ResponseWriter}
			scrub.ResponseWriter = t
		}
		return ok
	})
	return t
}

// WriteMsg implements dns.ResponseWriter.
func (t *tap) WriteMsg(m *dns.Msg) error {
	if t.swallow {
		return nil
	}
	if t.finish == nil {
		return t.ResponseWriter.WriteMsg(m)
	}
	return writeFinished(t.ResponseWriter, m, t.finish)
}

// Write implements dns.ResponseWriter.
func (t *tap) Write(b []byte) (int, error) {
	if t.swallow {
		return t.size, nil
	}
	return t.ResponseWriter.Write(b)
}

// refuse writes what the decision means for the client.
func (x *exchange) refuse(d *policy.Decision) {
	v := d.Verdict(x.Req.TSIG.Status)
	m := new(dns.Msg).SetRcode(x.r, v.Rcode)
	if opt := x.opt(d.Reason); opt != nil {
		if v.EDE != 0 {
			opt.Option = append([]dns.EDNS0{&dns.EDNS0_EDE{InfoCode: v.EDE}}, opt.Option...)
		}
		m.Extra = append(m.Extra, opt)
	}
	// Also who has to go gets the answer that says so: only time bounds it.
	err := x.within(context.Background(), func() error {
		write := x.writeUnsigned
		if d.Known {
			write = func(m *dns.Msg) error { return x.writeSigned(m, v.TSIG) }
		}
		return x.orPlainly(v.Rcode, write(m))
	})
	if err != nil {
		log.Debugf("Refusal to %s not written: %v", x.client(), err)
	}
}

func (x *exchange) writeUnsigned(m *dns.Msg) error { return x.write(m, nil) }

// lateAnswer is the time to write one message when the request has waited for longer than
// a transfer may take: in line, say. It would be reset otherwise and not answered.
const lateAnswer = time.Second

// within runs a write of one message, which no client may hold up for longer than a
// transfer: CoreDNS sets no write deadline. Where it fails part of the message may be on
// its way, and the connection is closed.
func (x *exchange) within(ctx context.Context, write func() error) error {
	if x.conn == nil {
		err := write()
		if err != nil {
			x.abort()
		}
		return err
	}
	o := x.sendOptions()
	if o.Total > 0 {
		o.Total = max(lateAnswer, o.Total-time.Since(x.Req.Now))
	}
	err := wire.Within(ctx, x.conn, o, write)
	if err != nil {
		x.abort()
	}
	return err //nolint:wrapcheck // endReason knows it
}

// writeSigned writes the message with the TSIG record that the request calls for.
// BADKEY and BADSIG go out unsigned; everything else is signed when the request's own
// MAC was genuine (RFC 8945 §5.3, §5.3.2).
func (x *exchange) writeSigned(m *dns.Msg, tsigError uint16) error {
	unsigned := tsigError == dns.RcodeBadKey || tsigError == dns.RcodeBadSig
	if x.Signature == nil || !x.carried() || (!unsigned && !x.Proven()) {
		return x.write(m, nil)
	}
	return x.write(m, func(msg []byte) ([]byte, error) {
		e := wire.TSIGError{Code: tsigError, TimeSigned: uint64(time.Now().Unix()), Fudge: wire.Fudge}
		if unsigned {
			return wire.AppendUnsignedError(nil, msg, x.Signature.Hdr.Name, x.Signature.Algorithm, e)
		}
		if tsigError == dns.RcodeBadTime {
			e = wire.BadTime(x.Signature, time.Now())
		}
		s, err := wire.NewResponseSigner(x.Signature, x.Secret)
		if err != nil {
			return nil, err
		}
		return s.AppendError(nil, msg, e), nil
	})
}

// write writes one message, padded where it has to be. sign appends the TSIG record;
// nil leaves it out.
func (x *exchange) write(m *dns.Msg, sign func([]byte) ([]byte, error)) error {
	m.Compress = true
	block := x.padding()
	if sign == nil && block == 0 {
		return x.w.WriteMsg(m)
	}
	limit := dns.MaxMsgSize
	if x.Req.Transport.Forgeable() {
		limit = (&request.Request{W: x.w, Req: x.r}).Size()
	}
	finish := func(m *dns.Msg) ([]byte, error) { return finished(m, sign, block, limit) }
	if x.tap != nil {
		x.tap.finish = finish
		return x.w.WriteMsg(m) // down to the tap, seen by all in between
	}
	return writeFinished(x.w, m, finish)
}

func writeFinished(w dns.ResponseWriter, m *dns.Msg, finish func(*dns.Msg) ([]byte, error)) error {
	packed, err := finish(m)
	if err != nil {
		return err
	}
	_, err = w.Write(packed)
	return err
}

// finished packs a message, pads it to a whole number of blocks, and lets sign append
// the TSIG record. The record counts, for its length shows through TLS as well: it is
// known once the message has been signed, and then it is signed again. An answer that is
// longer than limit with it goes out as a truncated one without records: CoreDNS, which
// shortens messages, has not seen the TSIG record (RFC 8945 §5.3).
func finished(m *dns.Msg, sign func([]byte) ([]byte, error), block, limit int) ([]byte, error) {
	pack := func() ([]byte, error) {
		packed, err := m.Pack()
		if err != nil || sign == nil {
			return packed, err
		}
		return sign(packed)
	}
	packed, err := pack()
	if err == nil && len(packed) > limit && len(m.Answer) > 0 {
		m.Answer, m.Truncated = nil, true
		packed, err = pack()
	}
	opt := m.IsEdns0()
	if err != nil || block == 0 || opt == nil {
		return packed, err
	}
	n := wire.Padding(len(packed), block)
	if n < 0 {
		return packed, nil
	}
	opt.Option = append(opt.Option, &dns.EDNS0_PADDING{Padding: make([]byte, n)})
	return pack()
}
