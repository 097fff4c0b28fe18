// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package xfrguard

import (
	"errors"
	"io"
	"net"

	"github.com/miekg/dns"
)

// orPlainly is the way out when an answer could not be written for err: what is on record
// as answered must not leave the client waiting. One that could not be packed or signed,
// for a name in the request that nobody can write, is written without options and
// signature, then without the question too. When it is the connection that failed, part of
// a message may be on its way: then nothing may follow it.
func (x *exchange) orPlainly(rcode int, err error) error {
	if err == nil || connectionFailed(err) {
		return err
	}
	log.Debugf("Answer to %s cannot be written: %v", x.client(), err)
	if x.tap != nil {
		x.tap.finish = nil
	}
	m := new(dns.Msg).SetRcode(x.r, rcode)
	if err = x.w.WriteMsg(m); err != nil && !connectionFailed(err) {
		m.Question = nil
		err = x.w.WriteMsg(m)
	}
	return err
}

// connectionFailed tells the errors of a connection from those of a message.
func connectionFailed(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.ErrShortWrite)
}
