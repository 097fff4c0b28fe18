// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"github.com/xfrguard/xfrguard/internal/check"
	"github.com/xfrguard/xfrguard/internal/policy"
)

// explainOptions are the flags of `xfrguard explain`.
type explainOptions struct {
	q      check.Question
	at     string
	view   string
	event  string
	format string
}

func explainCommand() *cobra.Command {
	var o explainOptions
	c := &cobra.Command{
		Use:   "explain COREFILE --zone ZONE --from ADDRESS [flags]\n  xfrguard explain COREFILE --event LOG ID",
		Short: "Say whether somebody may have a zone, and why",
		Long: `Decide a request as the server would, by the same code, and say why: which rule
decided, and of every rule which condition holds and which does not; what the
client is told, and what the audit event says.

With --event the request is one that was decided: ID is the event.id or the
coredns.xfr.id of a line in the audit log.

Exit codes: 0 allowed; 1 denied; 2 wrong use, or a file cannot be read.`,
		Example: `  xfrguard explain Corefile --zone example.org --from 192.0.2.53 --key ns2.example.net
  xfrguard explain Corefile --zone example.org --from 192.0.2.53 --tls --san ns2.example.net
  xfrguard explain Corefile --event /var/log/coredns/xfr.log 019ae1f0-0000-7000-8000-00000000000a`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExplain(cmd.OutOrStdout(), args, &o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.q.Zone, "zone", "", "the `ZONE` that is asked for")
	f.StringVar(&o.q.From, "from", "", "the `ADDRESS` of who asks")
	f.StringVar(&o.q.Type, "type", "AXFR", "AXFR or IXFR")
	f.StringVar(&o.q.Key, "key", "", "`NAME` of the TSIG key that it is signed with, rightly")
	f.StringVar(&o.q.Algorithm, "alg", "hmac-sha256", "the TSIG `ALGORITHM`")
	f.BoolVar(&o.q.UDP, "udp", false, "over UDP (IXFR)")
	f.BoolVar(&o.q.TLS, "tls", false, "over TLS 1.3")
	f.StringSliceVar(&o.q.SANs, "san", nil, "over TLS, with a verified certificate of these `NAMES`")
	f.StringVar(&o.q.SPKI, "spki", "", "over TLS, with a certificate of this public key: the SHA-256, as behind cert (`PIN`)")
	f.StringVar(&o.at, "at", "", "at this `DATE`, such as 2027-01-31 or 2027-01-31T18:00:00Z (default now)")
	f.StringVar(&o.view, "view", "", "in the view of this `NAME` alone")
	f.StringVar(&o.event, "event", "", "take the request from this audit `LOG`; ID follows the COREFILE")
	f.StringVar(&o.format, "format", "text", "`FORM` of the answer: text or json")
	return c
}

func runExplain(out io.Writer, args []string, o *explainOptions) error {
	if o.format != "text" && o.format != "json" {
		return fmt.Errorf("unknown format %q, expected text or json", o.format)
	}
	q, then, err := o.request(args)
	if err != nil {
		return err
	}
	c, err := check.Read(args[0], time.Now())
	if err != nil {
		return err
	}
	if err := c.Guarded(); err != nil {
		return err
	}
	answers, err := c.Explain(*q, o.view)
	if err != nil {
		return err
	}
	if o.format == "json" {
		err = explainJSON(out, answers)
	} else {
		for i := range answers {
			explainText(out, &answers[i])
		}
		if then != nil {
			fmt.Fprintf(out, "then it was: %s\n", then.Reason)
		}
	}
	for i := range answers {
		if !answers[i].Decision.Allow && err == nil {
			err = errFailed
		}
	}
	return err
}

// request is what the flags ask about, and with --event what was decided then.
func (o *explainOptions) request(args []string) (*policy.Request, *check.Event, error) {
	if o.event == "" {
		if len(args) > 1 {
			return nil, nil, fmt.Errorf("unexpected %q: an ID needs --event LOG", args[1])
		}
		at := time.Now()
		if o.at != "" {
			var err error
			if at, err = check.ParseDate(o.at); err != nil {
				return nil, nil, err
			}
		}
		q, err := o.q.Request(at)
		return q, nil, err
	}
	if len(args) < 2 {
		return nil, nil, fmt.Errorf("--event needs the ID of an event behind the COREFILE")
	}
	log, err := os.Open(o.event)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	e, err := check.FindEvent(log, args[1])
	if err != nil {
		return nil, nil, err
	}
	if o.view == "" {
		o.view = e.View
	}
	return &e.Request, e, nil
}

func explainText(out io.Writer, a *check.Answer) {
	d := &a.Decision
	what := fmt.Sprintf("%s of %s from %s", dns.TypeToString[a.Request.Type], a.Request.Zone, a.Request.Client)
	switch {
	case d.Allow && d.FullOnly:
		fmt.Fprintf(out, "ALLOWED %s by rule %s: whole zones, no differences\n", what, d.Rule)
	case d.Allow && d.Rule == "":
		fmt.Fprintf(out, "NOT GUARDED %s\n", what)
	case d.Allow:
		fmt.Fprintf(out, "ALLOWED %s by rule %s\n", what, d.Rule)
	default:
		fmt.Fprintf(out, "DENIED %s: %s%s\n", what, d.Reason, nearest(d))
	}
	fmt.Fprintf(out, "  server block %s\n", a.Block)
	if !d.Allow {
		fmt.Fprintf(out, "  the client sees %s\n", verdictText(a.Verdict))
		fmt.Fprintf(out, "  the event says event.reason %s%s\n", d.Reason, eventText(d))
	}
	for i := range a.Rules {
		r := &a.Rules[i]
		verb, mark := "allow", "  "
		if r.Deny {
			verb = "deny"
		}
		if r.Decided {
			mark = "->"
		}
		fmt.Fprintf(out, "%s %s %s (%s)\n", mark, verb, r.Name, r.Pos)
		for _, cond := range r.Conditions {
			if cond.Holds {
				fmt.Fprintf(out, "     yes  %s\n", cond.Text)
			} else {
				fmt.Fprintf(out, "     no   %s: %s\n", cond.Text, cond.Lack)
			}
		}
	}
	for _, n := range a.Notes {
		fmt.Fprintf(out, "  note: %s\n", n)
	}
}

func nearest(d *policy.Decision) string {
	switch {
	case d.Near != "":
		return ", and rule " + d.Near + " came closest"
	case d.Rule != "":
		return ", by rule " + d.Rule
	}
	return ""
}

func eventText(d *policy.Decision) string {
	switch {
	case d.Near != "":
		return ", coredns.xfr.rule.nearest " + d.Near
	case d.Rule != "":
		return ", rule.name " + d.Rule
	}
	return ""
}

func verdictText(v policy.Verdict) string {
	text := dns.RcodeToString[v.Rcode]
	if v.TSIG != 0 {
		text += ", TSIG error " + dns.RcodeToString[int(v.TSIG)]
	}
	if v.EDE != 0 {
		text += fmt.Sprintf(", EDE %d (%s) if it sends EDNS", v.EDE, dns.ExtendedErrorCodeToString[v.EDE])
	}
	return text
}

// jsonAnswer is one answer for programs.
type jsonAnswer struct {
	Block   string     `json:"block"`
	Allow   bool       `json:"allow"`
	Reason  string     `json:"reason"`
	Rule    string     `json:"rule,omitempty"`
	Nearest string     `json:"nearest,omitempty"`
	Rcode   string     `json:"rcode"`
	TSIG    string     `json:"tsig_error,omitempty"`
	EDE     uint16     `json:"ede,omitempty"`
	Rules   []jsonRule `json:"rules"`
	Notes   []string   `json:"notes"`
}

type jsonRule struct {
	Name       string          `json:"name"`
	Deny       bool            `json:"deny"`
	Position   string          `json:"position"`
	Decided    bool            `json:"decided"`
	Conditions []jsonCondition `json:"conditions"`
}

type jsonCondition struct {
	Text  string `json:"text"`
	Holds bool   `json:"holds"`
	Lack  string `json:"lack,omitempty"`
}

func explainJSON(out io.Writer, answers []check.Answer) error {
	docs := make([]jsonAnswer, len(answers))
	for i := range answers {
		a := &answers[i]
		d := jsonAnswer{
			Block: a.Block, Allow: a.Decision.Allow, Reason: string(a.Decision.Reason), Rule: a.Decision.Rule, Nearest: a.Decision.Near,
			Rcode: dns.RcodeToString[a.Verdict.Rcode], EDE: a.Verdict.EDE, Rules: []jsonRule{}, Notes: append([]string{}, a.Notes...),
		}
		if a.Verdict.TSIG != 0 {
			d.TSIG = dns.RcodeToString[int(a.Verdict.TSIG)]
		}
		for _, r := range a.Rules {
			rule := jsonRule{Name: r.Name, Deny: r.Deny, Position: r.Pos.String(), Decided: r.Decided}
			for _, cond := range r.Conditions {
				rule.Conditions = append(rule.Conditions, jsonCondition{cond.Text, cond.Holds, string(cond.Lack)})
			}
			d.Rules = append(d.Rules, rule)
		}
		docs[i] = d
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(docs)
}
