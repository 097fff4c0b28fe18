// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestForget: of a zone that is gone nothing is sent any more, whether its notice waits for
// its turn, for its next try, or for an answer; others go on, and so does the zone itself
// when it comes back.
func TestForget(t *testing.T) {
	for name, c := range map[string]struct {
		delay, forget time.Duration
		begin         bool
		sent, ended   []string
	}{
		"before its turn":          {delay: 5 * time.Second, forget: 3 * time.Second, ended: []string{"stopped 7 0"}},
		"before its turn, calm":    {delay: 5 * time.Second, forget: 3 * time.Second, begin: true, ended: []string{"stopped 7 0"}},
		"before its next try":      {forget: 5 * time.Second, sent: []string{"0s example.org. 7"}, ended: []string{"stopped 7 1"}},
		"while an answer is due":   {forget: time.Second, sent: []string{"0s example.org. 7"}, ended: []string{"stopped 7 1"}},
		"between two of its tries": {forget: 15 * time.Second, sent: []string{"0s example.org. 7", "12s example.org. 7"}, ended: []string{"stopped 7 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(Options{Pause: secondsApart}, func(context.Context, *Target, *request) reply {
					time.Sleep(2 * time.Second)
					return says(Timeout)
				})
				defer l.Close()
				if c.begin {
					l.Begin(target(1), "example.org.", testSOA(7), c.delay)
				} else {
					l.Send(target(1), "example.org.", testSOA(7), c.delay)
				}
				time.Sleep(c.forget)
				l.Forget("example.org.", "example.net.")
				time.Sleep(time.Hour)
				l.expect(t, c.sent, c.ended)
			})
		})
	}
}
